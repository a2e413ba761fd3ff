// Converts tiny drafters with dense and with sparse heads, and refuses what no drafter is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/hf_folder.hpp"
#include "tests/formats/shown_file.hpp"

namespace kimberlite::formats {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr uint64_t kTarget = 96, kCentroids = 4;
const std::string kOrdering = "masked_embedding.token_ordering";

/// A sliding and a full layer without keys and values.
Folder drafter_folder() {
  Folder folder("model.");
  folder.config["model_type"] = "gemma4_unified_assistant";
  folder.config["architectures"] = {"Gemma4UnifiedAssistantForCausalLM"};
  folder.config["backbone_hidden_size"] = kTarget;
  folder.config["use_ordered_embeddings"] = false;
  folder.config["num_centroids"] = 2048;
  folder.config["centroid_intermediate_top_k"] = 32;
  json& text = folder.config["text_config"];
  text["num_kv_shared_layers"] = 2;
  text["final_logit_softcapping"] = nullptr;
  std::erase_if(folder.shapes, [](const auto& entry) {
    const std::string& name = entry.first;
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    return has("k_proj") || has("v_proj") || has("k_norm") || has("embed_vision") ||
           has("embed_audio");
  });
  folder.shapes["pre_projection.weight"] = {kHidden, 2 * kTarget};
  folder.shapes["post_projection.weight"] = {kTarget, kHidden};
  return folder;
}

/// Four clusters of six tokens.
Folder sparse_folder() {
  Folder folder = drafter_folder();
  folder.config["model_type"] = "gemma4_assistant";
  folder.config["architectures"] = {"Gemma4AssistantForCausalLM"};
  folder.config["use_ordered_embeddings"] = true;
  folder.config["num_centroids"] = kCentroids;
  folder.config["centroid_intermediate_top_k"] = 2;
  folder.config["text_config"]["model_type"] = "gemma4_text";
  folder.shapes["masked_embedding.centroids.weight"] = {kCentroids, kHidden};
  folder.shapes[kOrdering] = {kVocab};
  for (uint64_t i = 0; i < kVocab; ++i) {
    folder.integers[kOrdering].push_back(static_cast<int64_t>(i * 7 % kVocab));
  }
  return folder;
}

/// The message, and nothing is left beside the folder's own three files.
std::string error_of(const Folder& folder) {
  const Converted done(folder);
  EXPECT_EQ(done.folder.n_files(), done.report.ok() ? 4u : 3u);
  return done.error();
}

Shown expected_keys() {
  const std::string arch = "gemma4-assistant.";
  return {{"general.architecture", "string gemma4-assistant"},
          {"general.type", "string model"},
          {"general.file_type", "u32 7"},
          {"general.quantization_version", "u32 2"},
          {arch + "context_length", "u32 512"},
          {arch + "block_count", "u32 2"},
          {arch + "nextn_predict_layers", "u32 2"},
          {arch + "embedding_length", "u32 64"},
          {arch + "embedding_length_out", "u32 96"},
          {arch + "embedding_length_per_layer_input", "u32 0"},
          {arch + "feed_forward_length", "u32 96"},
          {arch + "attention.head_count", "u32 4"},
          {arch + "attention.head_count_kv", "i32[2] 2 1"},
          {arch + "attention.key_length", "u32 32"},
          {arch + "attention.value_length", "u32 32"},
          {arch + "attention.key_length_swa", "u32 16"},
          {arch + "attention.value_length_swa", "u32 16"},
          {arch + "attention.sliding_window", "u32 8"},
          {arch + "attention.sliding_window_pattern", "bool[2] true false"},
          {arch + "attention.shared_kv_layers", "u32 2"},
          {arch + "attention.layer_norm_rms_epsilon", "f32 1e-06"},
          {arch + "rope.freq_base", "f32 1000000"},
          {arch + "rope.freq_base_swa", "f32 10000"},
          {arch + "rope.dimension_count", "u32 32"},
          {arch + "rope.dimension_count_swa", "u32 16"},
          {arch + "vocab_size", "u32 24"},
          {"tokenizer.ggml.model", "string gemma4"},
          {"tokenizer.ggml.tokens", "string[24]"},
          {"tokenizer.ggml.merges", "string[2]"},
          {"tokenizer.ggml.bos_token_id", "u32 2"},
          {"tokenizer.ggml.eos_token_id", "u32 1"},
          {"tokenizer.ggml.unknown_token_id", "u32 3"},
          {"tokenizer.ggml.padding_token_id", "u32 0"},
          {"tokenizer.ggml.add_bos_token", "bool true"},
          {"tokenizer.ggml.add_space_prefix", "bool false"}};
}

Shown expected_tensors(const std::string& type) {
  Shown expected = {{"token_embd.weight", type + " [64, 24]"},
                    {"output_norm.weight", "f32 [64]"},
                    {"rope_freqs.weight", "f32 [16]"},
                    {"nextn.pre_projection.weight", type + " [192, 64]"},
                    {"nextn.post_projection.weight", type + " [64, 96]"}};
  for (const uint64_t i : {0, 1}) {
    const std::string layer = fmt::format("blk.{}.", i);
    const uint64_t dim = i == 0 ? 16 : 32;
    for (const char* norm : {"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"}) {
      expected[layer + norm + ".weight"] = "f32 [64]";
    }
    expected[layer + "layer_output_scale.weight"] = "f32 [1]";
    expected[layer + "attn_q.weight"] = fmt::format("{} [64, {}]", type, 4 * dim);
    expected[layer + "attn_q_norm.weight"] = fmt::format("f32 [{}]", dim);
    expected[layer + "attn_output.weight"] = fmt::format("{} [{}, 64]", type, 4 * dim);
    expected[layer + "ffn_gate.weight"] = type + " [64, 96]";
    expected[layer + "ffn_up.weight"] = type + " [64, 96]";
    expected[layer + "ffn_down.weight"] = type + " [96, 64]";
  }
  return expected;
}

TEST(ConvertDrafter, EveryKeyAndTensorOfADenseHead) {
  const Converted done(drafter_folder(), {.type = GgmlType::q8_0});
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  Shown keys = shown_keys(*file);
  EXPECT_EQ(keys.erase("general.name"), 1u);
  EXPECT_THAT(keys["tokenizer.ggml.token_type"], HasSubstr("i32[24] 3 1 3 2"));
  EXPECT_THAT(keys["tokenizer.ggml.scores"], HasSubstr("f32[24] 0 0"));
  keys.erase("tokenizer.ggml.token_type");
  keys.erase("tokenizer.ggml.scores");
  EXPECT_EQ(keys, expected_keys());
  EXPECT_EQ(shown_tensors(*file), expected_tensors("q8_0"));
  EXPECT_EQ(done.report->n_skipped, 0u);
  EXPECT_THAT(done.report->notes, testing::ElementsAre(HasSubstr("13 of 24 token ids")));
}

TEST(ConvertDrafter, SparseHead) {
  const Folder source = sparse_folder();
  Folder unset = source;  // what transformers writes for a value that it fills in
  unset.config["text_config"]["num_kv_shared_layers"] = 0;
  for (const Folder& folder : {source, unset}) {
    const Converted done(folder, {.type = GgmlType::q8_0});
    ASSERT_EQ(done.error(), "");
    const auto file = GgufFile::open(done.path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    Shown keys = expected_keys();
    keys["gemma4-assistant.centroid_top_k"] = "u32 2";
    std::erase_if(keys, [](const auto& entry) { return !entry.first.starts_with("gemma4"); });
    EXPECT_EQ(shown_keys(*file, {"gemma4"}), keys);
    Shown tensors = expected_tensors("q8_0");
    tensors["masked_embd_centroids.weight"] = "q8_0 [64, 4]";
    tensors["masked_embd_ordering"] = "i32 [24]";
    EXPECT_EQ(shown_tensors(*file), tensors);
    const TensorInfo* ordering = file->find_tensor("masked_embd_ordering");
    for (size_t i = 0; i < kVocab; ++i) {
      int32_t id = -1;
      std::memcpy(&id, &ordering->data[i * sizeof(id)], sizeof(id));
      EXPECT_EQ(id, static_cast<int32_t>(i * 7 % kVocab)) << i;
    }
  }
}

TEST(ConvertDrafter, Values) {
  const Folder source = sparse_folder();
  const Converted done(source);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  const std::pair<const char*, const char*> names[] = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"nextn.pre_projection.weight", "pre_projection.weight"},
      {"nextn.post_projection.weight", "post_projection.weight"},
      {"masked_embd_centroids.weight", "masked_embedding.centroids.weight"},
      {"blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight"},
      {"blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"},
      {"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"},
      {"blk.1.layer_output_scale.weight", "model.layers.1.layer_scalar"},
      {"blk.1.post_ffw_norm.weight", "model.layers.1.post_feedforward_layernorm.weight"}};
  for (const auto& [name, from] : names) {
    const TensorInfo* tensor = file->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    const std::vector<float> values = values_of(*tensor);
    for (uint64_t i = 0; i < values.size(); ++i) {
      const float exact = Folder::value(source.order(from), i);
      ASSERT_EQ(values[i], bfloat_to_float(float_to_bfloat(exact))) << name << " " << i;
    }
  }
  std::vector<float> divisors(16, 1e30f);
  std::fill_n(divisors.begin(), 4, 1.0f);
  EXPECT_EQ(values_of(*file->find_tensor("rope_freqs.weight")), divisors);
}

TEST(ConvertDrafter, WhatTransformersIgnoresIsLeftOut) {
  Folder folder = drafter_folder();
  folder.shapes["lm_head.weight"] = {kVocab, kHidden};
  folder.shapes["masked_embedding.centroids.weight"] = {kCentroids, kHidden};
  folder.shapes["model.layers.0.self_attn.k_proj.weight"] = {32, kHidden};
  folder.config["text_config"]["final_logit_softcapping"] = 30.0;
  const Converted done(folder);
  ASSERT_EQ(done.error(), "");
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("3 tensors that the model does not use")));
  const auto file = GgufFile::open(done.path);
  EXPECT_EQ(shown_tensors(*file), expected_tensors("bf16"));
  EXPECT_FALSE(file->has("gemma4-assistant.final_logit_softcapping"));
}

TEST(ConvertDrafter, RefusesTensorsThatDoNotFit) {
  Folder folder = drafter_folder();
  folder.shapes.erase("pre_projection.weight");
  EXPECT_THAT(error_of(folder), HasSubstr("pre_projection.weight: missing, expected shape "
                                          "[64, 192]"));
  folder = drafter_folder();
  folder.shapes["post_projection.weight"] = {kHidden, kTarget};
  EXPECT_THAT(error_of(folder),
              HasSubstr("post_projection.weight: expected [96, 64], file has [64, 96]"));
  folder = drafter_folder();
  folder.shapes.erase("model.layers.0.layer_scalar");
  EXPECT_THAT(error_of(folder), HasSubstr("layer_scalar: missing, expected shape [1]"));
  folder = drafter_folder();
  folder.shapes["model.layers.0.extra.weight"] = {1};
  EXPECT_THAT(error_of(folder), HasSubstr("extra.weight: not a tensor of the model"));
  folder = drafter_folder();
  folder.spoiled = "post_projection.weight";
  EXPECT_THAT(error_of(folder), HasSubstr("post_projection.weight: element 6143 is nan"));
}

TEST(ConvertDrafter, RefusesASparseHeadThatDoesNotFit) {
  const auto error_with = [](const std::function<void(Folder&)>& change) {
    Folder folder = sparse_folder();
    change(folder);
    return error_of(folder);
  };
  EXPECT_THAT(error_with([](Folder& f) { f.shapes.erase(kOrdering); }),
              HasSubstr("token_ordering: missing, expected shape [24]"));
  EXPECT_THAT(error_with([](Folder& f) { f.integers.clear(); }),
              HasSubstr("token_ordering: dtype BF16, convert reads I64 and I32"));
  EXPECT_THAT(error_with([](Folder& f) { f.integers[kOrdering][5] = 24; }),
              HasSubstr("token_ordering: entry 5 is 24, expected a token id below 24"));
  EXPECT_THAT(error_with([](Folder& f) { f.integers[kOrdering][5] = -1; }),
              HasSubstr("token_ordering: entry 5 is -1"));
  EXPECT_THAT(error_with([](Folder& f) { f.integers[kOrdering][5] = 7; }),
              HasSubstr("token_ordering: entry 5 has token id 7 a second time"));
  EXPECT_THAT(error_with([](Folder& f) { f.config["num_centroids"] = 8; }),
              HasSubstr("centroids.weight: expected [8, 64], file has [4, 64]"));
  EXPECT_THAT(error_with([](Folder& f) { f.config["num_centroids"] = 5; }),
              HasSubstr("num_centroids: vocab_size 24 is no multiple of 5"));
  EXPECT_THAT(error_with([](Folder& f) { f.config["num_centroids"] = nullptr; }),
              HasSubstr("num_centroids: missing"));
  EXPECT_THAT(error_with([](Folder& f) { f.config["centroid_intermediate_top_k"] = 5; }),
              HasSubstr("centroid_intermediate_top_k: expected an integer from 1 to 4, found 5"));
}

TEST(ConvertDrafter, RefusesConfigsThatDoNotFit) {
  const auto error_with = [](const char* key, const json& value) {
    Folder folder = drafter_folder();
    folder.config[key] = value;
    return error_of(folder);
  };
  const auto text_error_with = [](const char* key, const json& value) {
    Folder folder = drafter_folder();
    folder.config["text_config"][key] = value;
    return error_of(folder);
  };
  EXPECT_THAT(error_with("backbone_hidden_size", nullptr),
              HasSubstr("backbone_hidden_size: missing"));
  EXPECT_THAT(error_with("backbone_hidden_size", 64),
              HasSubstr("backbone_hidden_size: 64 is the drafter's own hidden_size"));
  EXPECT_THAT(error_with("backbone_hidden_size", 80),
              HasSubstr("pre_projection.weight: expected [64, 160], file has [64, 192]"));
  EXPECT_THAT(error_with("tie_word_embeddings", false),
              HasSubstr("tie_word_embeddings is false, a drafter's head is its embedding"));
  EXPECT_THAT(error_with("text_config", nullptr), HasSubstr("text_config: missing"));
  EXPECT_THAT(text_error_with("num_kv_shared_layers", 1),
              HasSubstr("num_kv_shared_layers is 1 of 2 layers"));
  EXPECT_THAT(text_error_with("num_kv_shared_layers", 3), HasSubstr("from 0 to 2, found 3"));
  EXPECT_THAT(text_error_with("hidden_size_per_layer_input", 16),
              HasSubstr("hidden_size_per_layer_input is 16, a drafter has 0"));
  EXPECT_THAT(text_error_with("hidden_size", nullptr), HasSubstr("hidden_size: missing"));
}

}  // namespace
}  // namespace kimberlite::formats
