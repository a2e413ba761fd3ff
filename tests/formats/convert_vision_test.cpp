// Converts the encoder of pictures of tiny folders, and refuses what is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/hf_folder.hpp"
#include "tests/formats/shown_file.hpp"

namespace kimberlite::formats {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr uint64_t kPatch = 4, kPixels = kPatch * kPatch, kValues = 3 * kPixels;
constexpr uint64_t kWidth = 32, kTowerFfn = 96, kHeads = 2, kLayers = 2, kPositions = 5;
const std::string kTower = "model.vision_tower.";
const std::string kOut = "model.embed_vision.embedding_projection.weight";
constexpr const char* kBounds[] = {"input_min", "input_max", "output_min", "output_max"};

/// Names of a layer's matrices: official, GGUF, outputs, inputs.
struct Linear {
  const char* official;
  const char* gguf;
  uint64_t n_out, n_in;
};
constexpr Linear kLinears[] = {{"self_attn.q_proj", "attn_q", kWidth, kWidth},
                               {"self_attn.k_proj", "attn_k", kWidth, kWidth},
                               {"self_attn.v_proj", "attn_v", kWidth, kWidth},
                               {"self_attn.o_proj", "attn_out", kWidth, kWidth},
                               {"mlp.gate_proj", "ffn_gate", kTowerFfn, kWidth},
                               {"mlp.up_proj", "ffn_up", kTowerFfn, kWidth},
                               {"mlp.down_proj", "ffn_down", kWidth, kTowerFfn}};
/// Of the norms: official, GGUF, values.
struct Norm {
  const char* official;
  const char* gguf;
  uint64_t n;
};
constexpr Norm kNorms[] = {{"input_layernorm", "ln1", kWidth},
                           {"post_attention_layernorm", "attn_post_norm", kWidth},
                           {"pre_feedforward_layernorm", "ln2", kWidth},
                           {"post_feedforward_layernorm", "ffn_post_norm", kWidth},
                           {"self_attn.q_norm", "attn_q_norm", kWidth / kHeads},
                           {"self_attn.k_norm", "attn_k_norm", kWidth / kHeads}};

std::string layer_name(uint64_t layer) {
  return kTower + "encoder.layers." + std::to_string(layer) + ".";
}

Folder tower_folder(bool clips, bool standardises) {
  Folder folder;
  std::erase_if(folder.shapes, [](const auto& entry) {
    return entry.first.find("embed_audio") != std::string::npos;
  });
  folder.config["model_type"] = "gemma4";
  folder.config["audio_config"] = nullptr;
  folder.config["vision_config"] = {{"model_type", "gemma4_vision"},
                                    {"patch_size", kPatch},
                                    {"pooling_kernel_size", 3},
                                    {"hidden_size", kWidth},
                                    {"intermediate_size", kTowerFfn},
                                    {"num_hidden_layers", kLayers},
                                    {"num_attention_heads", kHeads},
                                    {"num_key_value_heads", kHeads},
                                    {"head_dim", kWidth / kHeads},
                                    {"position_embedding_size", kPositions},
                                    {"hidden_activation", "gelu_pytorch_tanh"},
                                    {"rope_parameters", {{"rope_theta", 100.0}}},
                                    {"rms_norm_eps", 1e-6},
                                    {"use_clipped_linears", clips},
                                    {"standardize", standardises}};
  folder.shapes[kTower + "patch_embedder.input_proj.weight"] = {kWidth, kValues};
  folder.shapes[kTower + "patch_embedder.position_embedding_table"] = {2, kPositions, kWidth};
  for (uint64_t i = 0; i < kLayers; ++i) {
    for (const Norm& norm : kNorms) {
      folder.shapes[layer_name(i) + norm.official + ".weight"] = {norm.n};
    }
    for (const Linear& linear : kLinears) {
      const std::string name = layer_name(i) + linear.official + ".";
      folder.shapes[name + "linear.weight"] = {linear.n_out, linear.n_in};
      for (const char* bound : kBounds) {
        if (clips) folder.shapes[name + bound] = {};
      }
    }
  }
  if (standardises) {
    folder.shapes[kTower + "std_bias"] = {kWidth};
    folder.shapes[kTower + "std_scale"] = {kWidth};
  }
  folder.shapes[kOut] = {kHidden, kWidth};
  return folder;
}

Converted convert_tower(const Folder& folder, GgmlType type = GgmlType::bf16) {
  return Converted(folder, {.mmproj = true, .type = type});
}

TEST(ConvertVision, EveryKey) {
  const Converted done = convert_tower(tower_folder(true, false));
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  const Shown expected = {{"clip.has_vision_encoder", "bool true"},
                          {"clip.has_audio_encoder", "bool false"},
                          {"clip.vision.projector_type", "string gemma4v"},
                          {"clip.vision.image_size", "u32 224"},
                          {"clip.vision.patch_size", "u32 4"},
                          {"clip.vision.embedding_length", "u32 32"},
                          {"clip.vision.feed_forward_length", "u32 96"},
                          {"clip.vision.block_count", "u32 2"},
                          {"clip.vision.projection_dim", "u32 64"},
                          {"clip.vision.attention.head_count", "u32 2"},
                          {"clip.vision.attention.layer_norm_epsilon", "f32 1e-06"},
                          {"clip.vision.image_mean", "f32[3] 0 0 0"},
                          {"clip.vision.image_std", "f32[3] 1 1 1"}};
  EXPECT_EQ(shown_keys(*file, {"clip."}), expected);
}

TEST(ConvertVision, EveryTensor) {
  for (const bool clips : {true, false}) {
    for (const char* type : {"f32", "bf16", "q8_0"}) {
      const Folder source = tower_folder(clips, !clips);
      const Converted done = convert_tower(source, *find_ggml_type(type));
      ASSERT_EQ(done.error(), "");
      const bool small = traits(*find_ggml_type(type)).block_elems > 1;
      const std::string t = type;
      Shown expected = {
          {"v.patch_embd.weight", (small ? "f16" : "f32") + std::string(" [4, 4, 3, 32]")},
          {"v.position_embd.weight", (small ? "f16" : t) + " [32, 5, 2]"},
          {"mm.input_projection.weight", t + " [32, 64]"}};
      for (uint64_t i = 0; i < kLayers; ++i) {
        const std::string layer = fmt::format("v.blk.{}.", i);
        for (const Norm& norm : kNorms) {
          expected[layer + norm.gguf + ".weight"] = fmt::format("f32 [{}]", norm.n);
        }
        for (const Linear& linear : kLinears) {
          expected[layer + linear.gguf + ".weight"] =
              fmt::format("{} [{}, {}]", type, linear.n_in, linear.n_out);
          for (const char* bound : kBounds) {
            if (clips) expected[layer + linear.gguf + "." + bound] = "f32 [1]";
          }
        }
      }
      if (!clips) expected["v.std_bias"] = expected["v.std_scale"] = "f32 [32]";
      EXPECT_EQ(shown_tensors(*GgufFile::open(done.path)), expected) << type;
      EXPECT_EQ(done.report->n_skipped, source.shapes.size() - expected.size());
    }
  }
}

TEST(ConvertVision, EveryValue) {
  const Folder source = tower_folder(true, true);
  const Converted done = convert_tower(source, GgmlType::f32);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  const auto expect = [&](const std::string& name, const std::string& official,
                          const std::function<uint64_t(uint64_t)>& from) {
    const TensorInfo* tensor = file->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    const std::vector<float> values = values_of(*tensor);
    for (uint64_t i = 0; i < values.size(); ++i) {
      const float exact = Folder::value(source.order(official), from(i));
      ASSERT_EQ(values[i], bfloat_to_float(float_to_bfloat(exact))) << name << " " << i;
    }
  };
  const auto same = [](uint64_t i) { return i; };
  // Planes of red, green and blue from pixels of three.
  expect("v.patch_embd.weight", kTower + "patch_embedder.input_proj.weight", [](uint64_t i) {
    return i / kValues * kValues + i % kPixels * 3 + i % kValues / kPixels;
  });
  expect("v.position_embd.weight", kTower + "patch_embedder.position_embedding_table", same);
  expect("v.std_bias", kTower + "std_bias", same);
  expect("v.std_scale", kTower + "std_scale", same);
  expect("mm.input_projection.weight", kOut, same);
  for (uint64_t i = 0; i < kLayers; ++i) {
    const std::string layer = fmt::format("v.blk.{}.", i);
    for (const Norm& norm : kNorms) {
      expect(layer + norm.gguf + ".weight", layer_name(i) + norm.official + ".weight", same);
    }
    for (const Linear& linear : kLinears) {
      expect(layer + linear.gguf + ".weight", layer_name(i) + linear.official + ".linear.weight",
             same);
      for (const char* bound : kBounds) {
        expect(layer + linear.gguf + "." + bound, layer_name(i) + linear.official + "." + bound,
               same);
      }
    }
  }
}

TEST(ConvertVision, RowsThatAreNoWholeBlocksFallBackWithANote) {
  Folder source = tower_folder(false, false);
  source.config["vision_config"]["intermediate_size"] = 76;
  for (uint64_t i = 0; i < kLayers; ++i) {
    source.shapes[layer_name(i) + "mlp.gate_proj.linear.weight"] = {76, kWidth};
    source.shapes[layer_name(i) + "mlp.up_proj.linear.weight"] = {76, kWidth};
    source.shapes[layer_name(i) + "mlp.down_proj.linear.weight"] = {kWidth, 76};
  }
  const Converted done = convert_tower(source, GgmlType::q8_0);
  ASSERT_EQ(done.error(), "");
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("v.blk.1.ffn_down.weight is f16")));
}

TEST(ConvertVision, RefusesWhatNoFileSays) {
  const auto error_with = [](const char* key, const json& value) {
    Folder folder = tower_folder(true, false);
    folder.config["vision_config"][key] = value;
    return convert_tower(folder).error();
  };
  EXPECT_THAT(error_with("num_key_value_heads", 1),
              HasSubstr("num_key_value_heads is 1, num_attention_heads is 2"));
  EXPECT_THAT(error_with("head_dim", 8), HasSubstr("2 heads of 8 make no hidden_size of 32"));
  EXPECT_THAT(error_with("hidden_activation", "silu"), HasSubstr("hidden_activation is silu"));
  EXPECT_THAT(error_with("attention_bias", true), HasSubstr("attention_bias is true"));
  EXPECT_THAT(error_with("rope_parameters", {{"rope_theta", 10000.0}}),
              HasSubstr("rope_theta is 10000, readers of gemma4v take 100"));
  EXPECT_THAT(error_with("num_hidden_layers", 3),
              HasSubstr("layers.2.input_layernorm.weight: missing"));
  EXPECT_THAT(error_with("num_hidden_layers", 1), HasSubstr("not a tensor of the projector"));
  EXPECT_THAT(error_with("use_clipped_linears", false), HasSubstr("not a tensor of the projector"));
  EXPECT_THAT(error_with("standardize", true), HasSubstr("std_bias: missing"));
  EXPECT_THAT(error_with("position_embedding_size", 6),
              HasSubstr("position_embedding_table: expected [2, 6, 32], file has [2, 5, 32]"));
  EXPECT_THAT(error_with("rms_norm_eps", 0.0), HasSubstr("rms_norm_eps: 0 is not above 0"));
}

}  // namespace
}  // namespace kimberlite::formats
