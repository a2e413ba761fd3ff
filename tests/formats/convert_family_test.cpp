// Converts what only some of the family have: per-layer inputs, layers that share keys and values,
// experts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/hf_folder.hpp"
#include "tests/formats/shown_file.hpp"

namespace kimberlite::formats {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kPerLayer = 32, kExperts = 3, kExpertFfn = 32;
const std::string kPrefix = "model.language_model.";

std::string layer(uint64_t i, const std::string& part) {
  return kPrefix + "layers." + std::to_string(i) + "." + part;
}

/// Two layers with keys and values, two that share them, as E2B has them.
Folder per_layer_folder() {
  Folder folder;
  folder.config["model_type"] = "gemma4";
  json& text = folder.config["text_config"];
  text["model_type"] = "gemma4_text";
  text["num_hidden_layers"] = 4;
  text["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                         "full_attention"};
  text["num_key_value_heads"] = 1;
  text["num_global_key_value_heads"] = nullptr;
  text["attention_k_eq_v"] = false;
  text["num_kv_shared_layers"] = 2;
  text["use_double_wide_mlp"] = true;
  text["hidden_size_per_layer_input"] = kPerLayer;
  text["vocab_size_per_layer_input"] = kVocab;
  folder.shapes[kPrefix + "embed_tokens_per_layer.weight"] = {kVocab, 4 * kPerLayer};
  folder.shapes[kPrefix + "per_layer_model_projection.weight"] = {4 * kPerLayer, kHidden};
  folder.shapes[kPrefix + "per_layer_projection_norm.weight"] = {kPerLayer};
  for (uint64_t i = 0; i < 4; ++i) {
    const uint64_t dim = i % 2 == 0 ? 16 : 32;
    if (i < 2) {
      folder.shapes[layer(i, "self_attn.k_proj.weight")] = {dim, kHidden};
      folder.shapes[layer(i, "self_attn.v_proj.weight")] = {dim, kHidden};
    } else {
      for (const char* part :
           {"input_layernorm.weight", "post_attention_layernorm.weight",
            "pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight", "layer_scalar",
            "self_attn.q_proj.weight", "self_attn.o_proj.weight", "self_attn.q_norm.weight"}) {
        folder.shapes[layer(i, part)] = folder.shapes.at(layer(i - 2, part));
      }
      folder.shapes[layer(i, "mlp.gate_proj.weight")] = {2 * kFfn, kHidden};
      folder.shapes[layer(i, "mlp.up_proj.weight")] = {2 * kFfn, kHidden};
      folder.shapes[layer(i, "mlp.down_proj.weight")] = {kHidden, 2 * kFfn};
    }
    folder.shapes[layer(i, "per_layer_input_gate.weight")] = {kPerLayer, kHidden};
    folder.shapes[layer(i, "per_layer_projection.weight")] = {kHidden, kPerLayer};
    folder.shapes[layer(i, "post_per_layer_input_norm.weight")] = {kHidden};
  }
  return folder;
}

Folder expert_folder() {
  Folder folder;
  folder.config["model_type"] = "gemma4";
  json& text = folder.config["text_config"];
  text["model_type"] = "gemma4_text";
  text["enable_moe_block"] = true;
  text["num_experts"] = kExperts;
  text["top_k_experts"] = 2;
  text["moe_intermediate_size"] = kExpertFfn;
  for (uint64_t i = 0; i < 2; ++i) {
    folder.shapes[layer(i, "router.proj.weight")] = {kExperts, kHidden};
    folder.shapes[layer(i, "router.scale")] = {kHidden};
    folder.shapes[layer(i, "router.per_expert_scale")] = {kExperts};
    folder.shapes[layer(i, "experts.gate_up_proj")] = {kExperts, 2 * kExpertFfn, kHidden};
    folder.shapes[layer(i, "experts.down_proj")] = {kExperts, kHidden, kExpertFfn};
    for (const char* norm : {"pre_feedforward_layernorm_2", "post_feedforward_layernorm_1",
                             "post_feedforward_layernorm_2"}) {
      folder.shapes[layer(i, norm) + ".weight"] = {kHidden};
    }
  }
  return folder;
}

/// The tensor has this type and shape, and the values of `from` within `bound`.
void expect_tensor(const GgufFile& file, const Folder& source, const char* name,
                   const std::string& from, GgmlType type, std::array<uint64_t, 4> ne,
                   float bound) {
  SCOPED_TRACE(name);
  const TensorInfo* tensor = file.find_tensor(name);
  ASSERT_NE(tensor, nullptr);
  ASSERT_NE(source.shapes.find(from), source.shapes.end()) << from;
  EXPECT_EQ(tensor->type, type);
  EXPECT_EQ(tensor->ne, ne);
  const std::vector<float> values = values_of(*tensor);
  for (uint64_t i = 0; i < values.size(); ++i) {
    const float exact = bfloat_to_float(float_to_bfloat(Folder::value(source.order(from), i)));
    ASSERT_LE(std::fabs(values[i] - exact), bound) << i;
  }
}

// Half a code step of values up to 0.5, and the f16 rounding of the scale.
constexpr float kQ8Bound = 0.25f / 127.0f + 0x1p-11f;

TEST(ConvertFamily, PerLayerKeysAndTensors) {
  const Folder source = per_layer_folder();
  const Converted done(source, {.type = GgmlType::q8_0});
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(*file->u32("gemma4.embedding_length_per_layer_input"), kPerLayer);
  EXPECT_EQ(*file->u32("gemma4.attention.shared_kv_layers"), 2u);
  EXPECT_THAT(*file->u32_per_layer("gemma4.feed_forward_length", 4),
              ElementsAre(kFfn, kFfn, 2 * kFfn, 2 * kFfn));
  EXPECT_THAT(*file->u32_per_layer("gemma4.attention.head_count_kv", 4), ElementsAre(1, 1, 1, 1));
  EXPECT_FALSE(file->has("gemma4.expert_count"));
  const auto expect = [&](const char* name, const std::string& from, GgmlType type,
                          std::array<uint64_t, 4> ne) {
    expect_tensor(*file, source, name, from, type, ne, type == GgmlType::q8_0 ? kQ8Bound : 0.0f);
  };
  expect("per_layer_token_embd.weight", kPrefix + "embed_tokens_per_layer.weight", GgmlType::q8_0,
         {4 * kPerLayer, kVocab, 1, 1});
  expect("per_layer_model_proj.weight", kPrefix + "per_layer_model_projection.weight",
         GgmlType::bf16, {kHidden, 4 * kPerLayer, 1, 1});
  expect("per_layer_proj_norm.weight", kPrefix + "per_layer_projection_norm.weight", GgmlType::f32,
         {kPerLayer, 1, 1, 1});
  expect("blk.3.inp_gate.weight", layer(3, "per_layer_input_gate.weight"), GgmlType::q8_0,
         {kHidden, kPerLayer, 1, 1});
  expect("blk.3.proj.weight", layer(3, "per_layer_projection.weight"), GgmlType::q8_0,
         {kPerLayer, kHidden, 1, 1});
  expect("blk.2.post_norm.weight", layer(2, "post_per_layer_input_norm.weight"), GgmlType::f32,
         {kHidden, 1, 1, 1});
  expect("blk.1.attn_v.weight", layer(1, "self_attn.v_proj.weight"), GgmlType::q8_0,
         {kHidden, 32, 1, 1});
  expect("blk.2.ffn_down.weight", layer(2, "mlp.down_proj.weight"), GgmlType::q8_0,
         {2 * kFfn, kHidden, 1, 1});
  for (const char* name :
       {"blk.2.attn_k.weight", "blk.3.attn_v.weight", "blk.3.attn_k_norm.weight"}) {
    EXPECT_EQ(file->find_tensor(name), nullptr) << name;
  }
}

TEST(ConvertFamily, KeysAndValuesOfSharingLayersAreLeftOut) {
  Folder source = per_layer_folder();
  source.shapes[layer(2, "self_attn.k_proj.weight")] = {16, kHidden};
  source.shapes[layer(2, "self_attn.v_proj.weight")] = {16, kHidden};
  source.shapes[layer(3, "self_attn.k_norm.weight")] = {32};
  const Converted done(source);
  ASSERT_EQ(done.error(), "");
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("3 tensors that the model does not use")));
  EXPECT_EQ(GgufFile::open(done.path)->find_tensor("blk.2.attn_k.weight"), nullptr);
}

TEST(ConvertFamily, ExpertKeysAndTensors) {
  const Folder source = expert_folder();
  for (const GgmlType type : {GgmlType::q8_0, GgmlType::bf16}) {
    const Converted done(source, {.type = type});
    ASSERT_EQ(done.error(), "");
    const auto file = GgufFile::open(done.path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(*file->u32("gemma4.expert_count"), kExperts);
    EXPECT_EQ(*file->u32("gemma4.expert_used_count"), 2u);
    EXPECT_EQ(*file->u32("gemma4.expert_feed_forward_length"), kExpertFfn);
    EXPECT_EQ(*file->u32("gemma4.feed_forward_length"), kFfn);
    const auto expect = [&](const char* name, const std::string& from, GgmlType expected,
                            std::array<uint64_t, 4> ne) {
      const float bound = expected == GgmlType::q8_0 ? kQ8Bound : 0.0f;
      expect_tensor(*file, source, name, layer(1, from), expected, ne, bound);
    };
    expect("blk.1.ffn_gate_inp.weight", "router.proj.weight", GgmlType::f32,
           {kHidden, kExperts, 1, 1});
    expect("blk.1.ffn_gate_inp.scale", "router.scale", GgmlType::f32, {kHidden, 1, 1, 1});
    expect("blk.1.ffn_gate_up_exps.weight", "experts.gate_up_proj", type,
           {kHidden, 2 * kExpertFfn, kExperts, 1});
    expect("blk.1.ffn_down_exps.weight", "experts.down_proj", type,
           {kExpertFfn, kHidden, kExperts, 1});
    expect("blk.1.ffn_down_exps.scale", "router.per_expert_scale", GgmlType::f32,
           {kExperts, 1, 1, 1});
    expect("blk.1.pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight", GgmlType::f32,
           {kHidden, 1, 1, 1});
    expect("blk.1.post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight", GgmlType::f32,
           {kHidden, 1, 1, 1});
    expect("blk.1.post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight", GgmlType::f32,
           {kHidden, 1, 1, 1});
    expect("blk.1.ffn_down.weight", "mlp.down_proj.weight", type, {kFfn, kHidden, 1, 1});
  }
}

TEST(ConvertFamily, RefusesWhatDoesNotFit) {
  const auto error_with = [](Folder folder, const char* key, const json& value) {
    folder.config["text_config"][key] = value;
    return Converted(folder).error();
  };
  EXPECT_THAT(error_with(per_layer_folder(), "vocab_size_per_layer_input", 23),
              HasSubstr("vocab_size_per_layer_input is 23, vocab_size is 24"));
  EXPECT_THAT(error_with(per_layer_folder(), "hidden_size_per_layer_input", 16),
              HasSubstr("embed_tokens_per_layer.weight: expected [24, 64], file has [24, 128]"));
  EXPECT_THAT(error_with(per_layer_folder(), "hidden_size_per_layer_input", 0),
              HasSubstr("not a tensor of the model"));
  EXPECT_THAT(error_with(expert_folder(), "num_experts", nullptr), HasSubstr("num_experts"));
  EXPECT_THAT(error_with(expert_folder(), "num_experts", 4),
              HasSubstr("router.proj.weight: expected [4, 64], file has [3, 64]"));
  EXPECT_THAT(error_with(expert_folder(), "top_k_experts", 4), HasSubstr("from 1 to 3"));
  EXPECT_THAT(error_with(expert_folder(), "enable_moe_block", false),
              HasSubstr("not a tensor of the model"));
}

/// The folder of convert_test with what newer versions of transformers write in its config.
Folder table_folder() {
  Folder folder;
  json& text = folder.config["text_config"];
  text.erase("global_head_dim");
  text.erase("num_global_key_value_heads");
  text["per_layer_config"] = {{"01", {{"head_dim", 32}, {"num_key_value_heads", 1}}}};
  return folder;
}

TEST(ConvertFamily, ATableOfLayersSaysWhatTheReleasedKeysSay) {
  const Converted released{Folder()}, done(table_folder());
  ASSERT_EQ(done.error(), "");
  const auto a = GgufFile::open(released.path), b = GgufFile::open(done.path);
  EXPECT_EQ(shown_keys(*a, {"gemma4"}), shown_keys(*b, {"gemma4"}));
  EXPECT_EQ(shown_tensors(*a), shown_tensors(*b));
  // Written out for all layers, and beside the released keys, it says the same.
  Folder explicit_folder = table_folder();
  json& text = explicit_folder.config["text_config"];
  text["global_head_dim"] = 32;
  text["num_global_key_value_heads"] = 1;
  text["per_layer_config"]["0"] = {{"head_dim", 16}, {"num_key_value_heads", 2}};
  text["per_layer_config"]["01"]["sliding_window"] = 8;
  const Converted again(explicit_folder);
  ASSERT_EQ(again.error(), "");
  EXPECT_EQ(shown_keys(*a, {"gemma4"}), shown_keys(*GgufFile::open(again.path), {"gemma4"}));
}

TEST(ConvertFamily, ALayerWithoutExceptionsIsLikeTheModel) {
  Folder source = table_folder();
  source.config["text_config"]["per_layer_config"] = json::object();
  EXPECT_THAT(Converted(source).error(),
              HasSubstr("layers.1.self_attn.q_proj.weight: expected [64, 64], file has [128, 64]"));
  source.config["text_config"].erase("per_layer_config");
  EXPECT_THAT(Converted(source).error(), HasSubstr("q_proj.weight: expected [2048, 64]"));
}

TEST(ConvertFamily, RefusesATableOfLayersThatDoesNotFit) {
  const auto error_with = [](const json& table, const char* key = "unused", int value = 0) {
    Folder folder = table_folder();
    json& text = folder.config["text_config"];
    if (!table.is_null()) text["per_layer_config"].merge_patch(table);
    text[key] = value;
    return Converted(folder).error();
  };
  EXPECT_THAT(error_with({{"01", {{"intermediate_size", 192}}}}),
              HasSubstr("per_layer_config: 01: intermediate_size is 192, the model's is 96"));
  EXPECT_THAT(error_with({{"01", {{"skip", {"mlp"}}}}}),
              HasSubstr("skip is array, the model's is missing"));
  EXPECT_THAT(error_with({{"2", json::object()}}), HasSubstr("2: expected a layer below 2"));
  EXPECT_THAT(error_with({{"full", json::object()}}), HasSubstr("full: expected a layer below 2"));
  EXPECT_THAT(error_with({{"0", 3}}), HasSubstr("0: expected an object, found 3"));
  EXPECT_THAT(error_with({{"01", {{"head_dim", "wide"}}}}), HasSubstr("found wide"));
  EXPECT_THAT(error_with({{"01", {{"num_key_value_heads", 3}}}}), HasSubstr("no multiple of 3"));
  EXPECT_THAT(error_with(nullptr, "global_head_dim", 64),
              HasSubstr("global_head_dim: 64, per_layer_config says 32"));
  EXPECT_THAT(error_with(nullptr, "num_global_key_value_heads", 2),
              HasSubstr("num_global_key_value_heads: 2, per_layer_config says 1"));
  EXPECT_THAT(error_with({{"01", {{"head_dim", 48}}}}),
              HasSubstr("q_proj.weight: expected [192, 64], file has [128, 64]"));
  Folder mixed = per_layer_folder();
  mixed.config["text_config"].erase("global_head_dim");
  mixed.config["text_config"]["per_layer_config"] = {{"1", {{"head_dim", 32}}}};
  EXPECT_THAT(Converted(mixed).error(),
              HasSubstr("head_dim is 32 in layer 1 and 16 in layer 3, both of them full layers"));
}

TEST(ConvertFamily, AnAbsentWidthIsTheOfficialDefault) {
  Folder source = per_layer_folder();
  source.config["text_config"].erase("hidden_size_per_layer_input");
  EXPECT_THAT(Converted(source).error(), HasSubstr("expected [24, 1024], file has [24, 128]"));
}

}  // namespace
}  // namespace kimberlite::formats
