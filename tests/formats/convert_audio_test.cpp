// Converts the encoder of sounds of tiny folders, and refuses what is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/hf_folder.hpp"
#include "tests/formats/shown_file.hpp"

namespace kimberlite::formats {
namespace {

using testing::HasSubstr;

constexpr uint64_t kWidth = 32, kHeads = 2, kLayers = 2, kFirst = 128, kSecond = 4, kOutput = 96;
const std::string kTower = "model.audio_tower.";
const std::string kFront = kTower + "subsample_conv_projection.";
constexpr const char* kBounds[] = {"input_min", "input_max", "output_min", "output_max"};

/// Names of a layer's matrices: official, GGUF, outputs, inputs.
struct Linear {
  const char* official;
  const char* gguf;
  uint64_t n_out, n_in;
};
constexpr Linear kLinears[] = {{"feed_forward1.ffw_layer_1", "ffn_up", 4 * kWidth, kWidth},
                               {"feed_forward1.ffw_layer_2", "ffn_down", kWidth, 4 * kWidth},
                               {"feed_forward2.ffw_layer_1", "ffn_up_1", 4 * kWidth, kWidth},
                               {"feed_forward2.ffw_layer_2", "ffn_down_1", kWidth, 4 * kWidth},
                               {"self_attn.q_proj", "attn_q", kWidth, kWidth},
                               {"self_attn.k_proj", "attn_k", kWidth, kWidth},
                               {"self_attn.v_proj", "attn_v", kWidth, kWidth},
                               {"self_attn.post", "attn_out", kWidth, kWidth},
                               {"lconv1d.linear_start", "conv_pw1", 2 * kWidth, kWidth},
                               {"lconv1d.linear_end", "conv_pw2", kWidth, kWidth}};
/// Of what is copied as it is: official, GGUF, shape of the checkpoint, as shown.
struct Copied {
  std::string official;
  std::string gguf;
  std::vector<uint64_t> shape;
  std::string shown;
};
std::vector<Copied> layer_copies() {
  std::vector<Copied> copies;
  for (const auto& [official, gguf] :
       {std::pair{"feed_forward1.pre_layer_norm", "ffn_norm"},
        {"feed_forward1.post_layer_norm", "ffn_post_norm"},
        {"feed_forward2.pre_layer_norm", "ffn_norm_1"},
        {"feed_forward2.post_layer_norm", "ffn_post_norm_1"},
        {"norm_pre_attn", "attn_pre_norm"},
        {"norm_post_attn", "attn_post_norm"},
        {"lconv1d.pre_layer_norm", "conv_norm"},  // the wrong way round, as released files are
        {"lconv1d.conv_norm", "norm_conv"},
        {"norm_out", "ln2"}}) {
    copies.push_back(
        {std::string(official) + ".weight", std::string(gguf) + ".weight", {kWidth}, "f32 [32]"});
  }
  copies.push_back(
      {"lconv1d.depthwise_conv1d.weight", "conv_dw.weight", {kWidth, 1, 5}, "f32 [5, 32]"});
  return copies;
}
const std::vector<Copied> kEdges = {
    {"subsample_conv_projection.layer0.conv.weight",
     "a.conv1d.0.weight",
     {kFirst, 1, 3, 3},
     "f32 [3, 3, 1, 128]"},
    {"subsample_conv_projection.layer0.norm.weight",
     "a.conv1d.0.norm.weight",
     {kFirst},
     "f32 [128]"},
    {"subsample_conv_projection.layer1.conv.weight",
     "a.conv1d.1.weight",
     {kSecond, kFirst, 3, 3},
     "f32 [3, 3, 128, 4]"},
    {"subsample_conv_projection.layer1.norm.weight",
     "a.conv1d.1.norm.weight",
     {kSecond},
     "f32 [4]"},
    {"output_proj.bias", "a.pre_encode.out.bias", {kOutput}, "f32 [96]"}};

std::string layer_name(uint64_t layer) { return kTower + "layers." + std::to_string(layer) + "."; }

Folder sound_folder(bool clips) {
  Folder folder;
  std::erase_if(folder.shapes, [](const auto& entry) {
    return entry.first.find("embed_vision") != std::string::npos;
  });
  folder.config["model_type"] = "gemma4";
  folder.config["vision_config"] = nullptr;
  folder.config["audio_config"] = {
      {"model_type", "gemma4_audio"}, {"hidden_size", kWidth},
      {"num_hidden_layers", kLayers}, {"num_attention_heads", kHeads},
      {"hidden_act", "silu"},         {"subsampling_conv_channels", {kFirst, kSecond}},
      {"conv_kernel_size", 5},        {"residual_weight", 0.5},
      {"attention_chunk_size", 12},   {"attention_context_left", 13},
      {"attention_context_right", 0}, {"attention_logit_cap", 50.0},
      {"rms_norm_eps", 1e-6},         {"use_clipped_linears", clips},
      {"output_proj_dims", kOutput}};
  for (const Copied& copied : kEdges) folder.shapes[kTower + copied.official] = copied.shape;
  folder.shapes[kFront + "input_proj_linear.weight"] = {kWidth, 32 * kSecond};
  folder.shapes[kTower + "output_proj.weight"] = {kOutput, kWidth};
  folder.shapes["model.embed_audio.embedding_projection.weight"] = {kHidden, kOutput};
  for (uint64_t i = 0; i < kLayers; ++i) {
    for (const Copied& copied : layer_copies()) {
      folder.shapes[layer_name(i) + copied.official] = copied.shape;
    }
    for (const Linear& linear : kLinears) {
      const std::string name = layer_name(i) + linear.official + ".";
      folder.shapes[name + "linear.weight"] = {linear.n_out, linear.n_in};
      for (const char* bound : kBounds) {
        if (clips) folder.shapes[name + bound] = {};
      }
    }
    folder.shapes[layer_name(i) + "self_attn.relative_k_proj.weight"] = {kWidth, kWidth};
    folder.shapes[layer_name(i) + "self_attn.per_dim_scale"] = {kWidth / kHeads};
  }
  return folder;
}

Converted convert_sounds(const Folder& folder, GgmlType type = GgmlType::bf16) {
  return Converted(folder, {.mmproj = true, .type = type});
}

TEST(ConvertAudio, EveryKey) {
  const Converted done = convert_sounds(sound_folder(true));
  ASSERT_EQ(done.error(), "");
  const Shown expected = {{"clip.has_vision_encoder", "bool false"},
                          {"clip.has_audio_encoder", "bool true"},
                          {"clip.audio.projector_type", "string gemma4a"},
                          {"clip.audio.num_mel_bins", "u32 128"},
                          {"clip.audio.embedding_length", "u32 32"},
                          {"clip.audio.feed_forward_length", "u32 128"},
                          {"clip.audio.block_count", "u32 2"},
                          {"clip.audio.projection_dim", "u32 64"},
                          {"clip.audio.attention.head_count", "u32 2"},
                          {"clip.audio.attention.layer_norm_epsilon", "f32 1e-05"}};
  EXPECT_EQ(shown_keys(*GgufFile::open(done.path), {"clip."}), expected);
}

TEST(ConvertAudio, EveryTensor) {
  for (const bool clips : {true, false}) {
    for (const std::string type : {"f32", "bf16", "q8_0"}) {
      const Folder source = sound_folder(clips);
      const Converted done = convert_sounds(source, *find_ggml_type(type));
      ASSERT_EQ(done.error(), "");
      Shown expected = {{"a.input_projection.weight", type + " [128, 32]"},
                        {"a.pre_encode.out.weight", type + " [32, 96]"},
                        {"mm.a.input_projection.weight", type + " [96, 64]"}};
      for (const Copied& copied : kEdges) expected[copied.gguf] = copied.shown;
      for (uint64_t i = 0; i < kLayers; ++i) {
        const std::string layer = fmt::format("a.blk.{}.", i);
        for (const Copied& copied : layer_copies()) expected[layer + copied.gguf] = copied.shown;
        for (const Linear& linear : kLinears) {
          expected[layer + linear.gguf + ".weight"] =
              fmt::format("{} [{}, {}]", type, linear.n_in, linear.n_out);
          for (const char* bound : kBounds) {
            if (clips) expected[layer + linear.gguf + "." + bound] = "f32 [1]";
          }
        }
        expected[layer + "attn_k_rel.weight"] = type + " [32, 32]";
        expected[layer + "per_dim_scale.weight"] = "f32 [16]";
      }
      EXPECT_EQ(shown_tensors(*GgufFile::open(done.path)), expected) << type;
      EXPECT_EQ(done.report->n_skipped, source.shapes.size() - expected.size());
    }
  }
}

TEST(ConvertAudio, EveryValue) {
  const Folder source = sound_folder(true);
  const Converted done = convert_sounds(source, GgmlType::f32);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  const auto source_value = [&](const std::string& official, uint64_t i) {
    const float exact = Folder::value(source.order(official), i);
    return bfloat_to_float(float_to_bfloat(exact));
  };
  const auto expect = [&](const std::string& name, const std::string& official) {
    const TensorInfo* tensor = file->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    const std::vector<float> values = values_of(*tensor);
    for (uint64_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], source_value(official, i)) << name << " " << i;
    }
  };
  for (const Copied& copied : kEdges) expect(copied.gguf, kTower + copied.official);
  expect("a.input_projection.weight", kFront + "input_proj_linear.weight");
  expect("a.pre_encode.out.weight", kTower + "output_proj.weight");
  for (uint64_t i = 0; i < kLayers; ++i) {
    const std::string layer = fmt::format("a.blk.{}.", i);
    for (const Copied& copied : layer_copies()) {
      expect(layer + copied.gguf, layer_name(i) + copied.official);
    }
    for (const Linear& linear : kLinears) {
      expect(layer + linear.gguf + ".weight", layer_name(i) + linear.official + ".linear.weight");
      for (const char* bound : kBounds) {
        expect(layer + linear.gguf + "." + bound, layer_name(i) + linear.official + "." + bound);
      }
    }
    expect(layer + "attn_k_rel.weight", layer_name(i) + "self_attn.relative_k_proj.weight");
    // Softplus of it, which the checkpoint leaves to the model.
    const std::string scale = layer_name(i) + "self_attn.per_dim_scale";
    const auto values = values_of(*file->find_tensor(layer + "per_dim_scale.weight"));
    for (uint64_t j = 0; j < values.size(); ++j) {
      const double x = source_value(scale, j);
      ASSERT_EQ(values[j], static_cast<float>(std::log1p(std::exp(x)))) << j;
    }
  }
}

TEST(ConvertAudio, RefusesWhatNoFileSays) {
  const auto error_with = [](const char* key, const json& value) {
    Folder folder = sound_folder(true);
    folder.config["audio_config"][key] = value;
    return convert_sounds(folder).error();
  };
  EXPECT_THAT(error_with("attention_chunk_size", 16),
              HasSubstr("attention_chunk_size is 16, readers of gemma4a take 12"));
  EXPECT_THAT(error_with("attention_context_left", 12), HasSubstr("attention_context_left is 12"));
  EXPECT_THAT(error_with("attention_context_right", 1), HasSubstr("attention_context_right is 1"));
  EXPECT_THAT(error_with("attention_logit_cap", 30.0), HasSubstr("attention_logit_cap is 30"));
  EXPECT_THAT(error_with("residual_weight", 1.0), HasSubstr("residual_weight is 1"));
  EXPECT_THAT(error_with("conv_kernel_size", 7), HasSubstr("conv_kernel_size is 7"));
  EXPECT_THAT(error_with("rms_norm_eps", 1e-5), HasSubstr("rms_norm_eps is 1e-05"));
  EXPECT_THAT(error_with("hidden_act", "gelu"), HasSubstr("hidden_act is gelu, expected silu"));
  EXPECT_THAT(error_with("num_attention_heads", 3),
              HasSubstr("3 heads do not divide a hidden_size of 32"));
  EXPECT_THAT(error_with("subsampling_conv_channels", {64, 4}),
              HasSubstr("subsampling_conv_channels starts with 64, expected 128"));
  EXPECT_THAT(error_with("subsampling_conv_channels", {128}), HasSubstr("array of two numbers"));
  EXPECT_THAT(error_with("subsampling_conv_channels", {128, -4}),
              HasSubstr("-4 is no number from 1 to 256"));
  EXPECT_THAT(error_with("num_hidden_layers", 3), HasSubstr("layers.2."));
  EXPECT_THAT(error_with("num_hidden_layers", 1), HasSubstr("not a tensor of the projector"));
  EXPECT_THAT(error_with("use_clipped_linears", false), HasSubstr("not a tensor of the projector"));
  EXPECT_THAT(error_with("output_proj_dims", 64),
              HasSubstr("output_proj.weight: expected [64, 32], file has [96, 32]"));
  Folder spoiled = sound_folder(false);
  spoiled.spoiled = layer_name(1) + "self_attn.per_dim_scale";
  EXPECT_THAT(convert_sounds(spoiled).error(), HasSubstr("per_dim_scale: nan is no number"));
}

}  // namespace
}  // namespace kimberlite::formats
