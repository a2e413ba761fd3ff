// Converts tiny dense folders, and refuses what is no Gemma 4.
#include "formats/convert.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/formats/hf_folder.hpp"

namespace kimberlite::formats {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Convert, KeysAndReport) {
  const Converted done{Folder()};
  ASSERT_TRUE(done.report.ok()) << done.error();
  EXPECT_EQ(done.report->n_skipped, 2u);
  EXPECT_EQ(done.report->n_tensors, 3u + 14u + 13u);
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("2 vision and audio tensors")));
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("13 of 24 token ids")));
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(*file->str("general.architecture"), "gemma4");
  EXPECT_EQ(*file->u32("gemma4.block_count"), 2u);
  EXPECT_EQ(*file->u32("gemma4.embedding_length"), kHidden);
  EXPECT_EQ(*file->u32("gemma4.feed_forward_length"), kFfn);
  EXPECT_THAT(*file->u32_per_layer("gemma4.attention.head_count_kv", 2), ElementsAre(2u, 1u));
  EXPECT_EQ(*file->u32("gemma4.attention.key_length"), 32u);
  EXPECT_EQ(*file->u32("gemma4.attention.value_length_swa"), 16u);
  EXPECT_EQ(*file->u32("gemma4.attention.sliding_window"), 8u);
  EXPECT_THAT(file->bool_array("gemma4.attention.sliding_window_pattern")->to_vector(),
              ElementsAre(true, false));
  EXPECT_EQ(*file->f32("gemma4.attention.layer_norm_rms_epsilon"), 1e-6f);
  EXPECT_EQ(*file->f32("gemma4.rope.freq_base"), 1e6f);
  EXPECT_EQ(*file->f32("gemma4.rope.freq_base_swa"), 1e4f);
  EXPECT_EQ(*file->u32("gemma4.rope.dimension_count"), 32u);
  EXPECT_EQ(*file->f32("gemma4.final_logit_softcapping"), 30.0f);
  EXPECT_EQ(*file->u32("gemma4.vocab_size"), kVocab);
  EXPECT_EQ(*file->u32("general.file_type"), 32u);
}

TEST(Convert, Tokenizer) {
  const Converted done{Folder()};
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << done.error();
  const auto tokens = file->str_array("tokenizer.ggml.tokens");
  const auto kinds = file->i32_array("tokenizer.ggml.token_type");
  ASSERT_TRUE(tokens.ok() && kinds.ok());
  ASSERT_EQ(tokens->size(), kVocab);
  EXPECT_EQ((*tokens)[20], "<extra>");
  EXPECT_EQ((*tokens)[23], "[PAD23]");
  const std::vector<int32_t> k = kinds->to_vector();
  EXPECT_EQ(k, (std::vector<int32_t>{3, 1, 3, 2, 3, 4, 1, 1, 1, 6, 5, 5,
                                     5, 5, 5, 5, 5, 5, 5, 5, 4, 5, 5, 5}));
  EXPECT_THAT(*file->str_array("tokenizer.ggml.merges"), ElementsAre("a b", "ab a"));
  EXPECT_EQ(*file->str("tokenizer.ggml.model"), "gemma4");
  EXPECT_EQ(*file->u32("tokenizer.ggml.bos_token_id"), 2u);
  EXPECT_EQ(*file->u32("tokenizer.ggml.eos_token_id"), 1u);
  EXPECT_EQ(*file->u32("tokenizer.ggml.padding_token_id"), 0u);
  EXPECT_EQ(*file->u32("tokenizer.ggml.unknown_token_id"), 3u);
  EXPECT_FALSE(file->has("tokenizer.ggml.mask_token_id"));
}

TEST(Convert, ValuesOfEveryType) {
  const std::string prefix = "model.language_model.";
  const Folder source;
  // Half a code step of values up to 0.5, and the f16 rounding of the scale; q4_0 lacks one code.
  const std::pair<GgmlType, float> types[] = {{GgmlType::f32, 0.0f},
                                              {GgmlType::bf16, 0.0f},
                                              {GgmlType::f16, 0x1p-12f},
                                              {GgmlType::q8_0, 0.25f / 127.0f + 0x1p-11f},
                                              {GgmlType::q4_0, 0.5f / 8.0f + 0x1p-11f}};
  for (const auto& [type, bound] : types) {
    const Converted done(source, {.type = type});
    ASSERT_TRUE(done.report.ok()) << done.error();
    const auto file = GgufFile::open(done.path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto expect_close = [&](const char* name, const std::string& from, GgmlType expected,
                                  std::array<uint64_t, 4> ne, float within) {
      const TensorInfo* tensor = file->find_tensor(name);
      ASSERT_NE(tensor, nullptr) << name;
      EXPECT_EQ(tensor->type, expected) << name;
      EXPECT_EQ(tensor->ne, ne) << name;
      const std::vector<float> got = values_of(*tensor);
      for (uint64_t i = 0; i < got.size(); ++i) {
        const float exact = bfloat_to_float(float_to_bfloat(Folder::value(source.order(from), i)));
        ASSERT_LE(std::fabs(got[i] - exact), within) << name << " " << i;
      }
    };
    expect_close("token_embd.weight", prefix + "embed_tokens.weight", type, {kHidden, kVocab, 1, 1},
                 bound);
    expect_close("blk.1.ffn_down.weight", prefix + "layers.1.mlp.down_proj.weight", type,
                 {kFfn, kHidden, 1, 1}, bound);
    expect_close("blk.0.attn_v.weight", prefix + "layers.0.self_attn.v_proj.weight", type,
                 {kHidden, 32, 1, 1}, bound);
    expect_close("blk.1.attn_k_norm.weight", prefix + "layers.1.self_attn.k_norm.weight",
                 GgmlType::f32, {32, 1, 1, 1}, 0.0f);
    expect_close("blk.0.layer_output_scale.weight", prefix + "layers.0.layer_scalar", GgmlType::f32,
                 {1, 1, 1, 1}, 0.0f);
    expect_close("blk.0.ffn_norm.weight", prefix + "layers.0.pre_feedforward_layernorm.weight",
                 GgmlType::f32, {kHidden, 1, 1, 1}, 0.0f);
    EXPECT_EQ(file->find_tensor("blk.1.attn_v.weight"), nullptr);
    const std::vector<float> rope = values_of(*file->find_tensor("rope_freqs.weight"));
    std::vector<float> expected(16, 1e30f);
    std::fill_n(expected.begin(), 4, 1.0f);  // a quarter of 32 dimensions is 4 pairs
    EXPECT_EQ(rope, expected);
  }
}

TEST(Convert, EveryPrefixAndFlatConfig) {
  for (const char* prefix : {"model.", "language_model.model."}) {
    const Converted done{Folder(prefix)};
    EXPECT_EQ(done.error(), "") << prefix;
  }
  Folder flat("model.");
  flat.config = flat.config["text_config"];
  EXPECT_EQ(Converted(flat).error(), "");
}

TEST(Convert, WithoutTokenizerAndWithGenerationConfig) {
  Folder source;
  source.tokenizer = nullptr;
  const TempFolder folder;
  source.write(folder);
  folder.write("generation_config.json",
               R"({"top_k":64,"top_p":0.95,"temperature":1.0,"suppress_tokens":[7,8]})");
  const auto report = convert(folder.path() + "/", folder.file("o.gguf"), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_THAT(report->notes, Contains(HasSubstr("no tokenizer.json")));
  const auto file = GgufFile::open(folder.file("o.gguf"));
  EXPECT_FALSE(file->has("tokenizer.ggml.model"));
  EXPECT_EQ(*file->i32("general.sampling.top_k"), 64);
  EXPECT_EQ(*file->f32("general.sampling.top_p"), 0.95f);
  EXPECT_THAT(file->i32_array("tokenizer.ggml.suppress_tokens")->to_vector(), ElementsAre(7, 8));
  EXPECT_THAT(std::string(*file->str("general.name")), HasSubstr("kimberlite_Convert"));
}

TEST(Convert, RowsThatAreNoWholeBlocksFallBackWithANote) {
  Folder source;
  source.config["text_config"]["intermediate_size"] = 80;
  for (auto& [name, shape] : source.shapes) {
    for (uint64_t& extent : shape) extent = extent == kFfn ? 80 : extent;
  }
  const Converted done(source, {.type = GgmlType::q4_0});
  ASSERT_TRUE(done.report.ok()) << done.error();
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("blk.0.ffn_down.weight is f16")));
  const auto file = GgufFile::open(done.path);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_down.weight")->type, GgmlType::f16);
  EXPECT_EQ(file->find_tensor("blk.0.ffn_up.weight")->type, GgmlType::q4_0);
}

TEST(Convert, OverwritesOnlyWhenAsked) {
  const TempFolder folder;
  Folder().write(folder);
  const std::string out = folder.write("o.gguf", "old");
  EXPECT_THAT(convert(folder.path(), out, {}).error().message, HasSubstr("exists already"));
  EXPECT_EQ(folder.read("o.gguf"), "old");
  EXPECT_TRUE(convert(folder.path(), out, {.overwrite = true}).ok());
  EXPECT_TRUE(GgufFile::open(out).ok());
  EXPECT_THAT(convert(folder.path(), folder.file("x"), {.type = GgmlType::q6_k}).error().message,
              HasSubstr("cannot write q6_k"));
}

TEST(Convert, RefusesOtherModelsByName) {
  const auto error_with = [](const char* key, const json& value) {
    Folder source;
    source.config["text_config"][key] = value;
    return Converted(source).error();
  };
  EXPECT_THAT(error_with("hidden_activation", "silu"), HasSubstr("found silu"));
  EXPECT_THAT(error_with("num_hidden_layers", 1 << 30), HasSubstr("from 1 to 512"));
  EXPECT_THAT(error_with("hidden_size", "64"), HasSubstr("found 64"));
  EXPECT_THAT(error_with("head_dim", nullptr), HasSubstr("head_dim: missing"));
  EXPECT_THAT(error_with("layer_types", {"full_attention"}), HasSubstr("expected 2 entries"));
  EXPECT_THAT(error_with("num_key_value_heads", 3), HasSubstr("no multiple of 3"));
  Folder other;
  other.config["model_type"] = "llama";
  EXPECT_THAT(Converted(other).error(), HasSubstr("model_type llama is not supported"));
}

TEST(Convert, RefusesTensorsThatDoNotFit) {
  const std::string layer = "model.language_model.layers.0.";
  Folder missing, wrong, unknown, untied;
  missing.shapes.erase(layer + "mlp.up_proj.weight");
  EXPECT_THAT(Converted(missing).error(), HasSubstr("mlp.up_proj.weight: missing"));
  wrong.shapes[layer + "self_attn.k_proj.weight"] = {16, kHidden};
  EXPECT_THAT(Converted(wrong).error(),
              HasSubstr("k_proj.weight: expected [32, 64], file has [16, 64]"));
  unknown.shapes[layer + "self_attn.audio_gate.weight"] = {4};
  EXPECT_THAT(Converted(unknown).error(), HasSubstr("audio_gate.weight: not a tensor"));
  untied.config["text_config"]["tie_word_embeddings"] = false;
  EXPECT_THAT(Converted(untied).error(), HasSubstr("lm_head.weight: missing"));
  untied.shapes["lm_head.weight"] = {kVocab, kHidden};
  const Converted done(untied);
  ASSERT_EQ(done.error(), "");
  EXPECT_NE(GgufFile::open(done.path)->find_tensor("output.weight"), nullptr);
}

TEST(Convert, RefusesABadTokenizer) {
  const auto error_with = [](const std::function<void(json&)>& change) {
    Folder source;
    change(source.tokenizer);
    const Converted done(source);
    EXPECT_FALSE(std::filesystem::exists(done.path));
    return done.error();
  };
  EXPECT_THAT(error_with([](json& t) { t["model"]["type"] = "Unigram"; }),
              HasSubstr("expected BPE, found Unigram"));
  EXPECT_THAT(error_with([](json& t) { t["model"]["vocab"]["z"] = 24; }),
              HasSubstr("below vocab_size 24, found 24"));
  EXPECT_THAT(error_with([](json& t) { t["model"]["vocab"]["z"] = 7; }),
              HasSubstr("id 7 is already"));
  EXPECT_THAT(error_with([](json& t) { t["model"]["merges"] = {"ab"}; }),
              HasSubstr("no two sides"));
  EXPECT_THAT(error_with([](json& t) { t["model"]["merges"] = {3}; }), HasSubstr("entry 0"));
  EXPECT_THAT(error_with([](json& t) { t["added_tokens"][0]["id"] = 1000; }),
              HasSubstr("added_tokens: id: expected an integer from 0 to 23"));
  EXPECT_THAT(error_with([](json& t) { t["added_tokens"][0]["content"] = "other"; }),
              HasSubstr("0 is both <pad> and other"));
}

}  // namespace
}  // namespace kimberlite::formats
