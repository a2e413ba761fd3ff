// Converts the projector of tiny Unified folders, and refuses what has none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/hf_folder.hpp"
#include "tests/formats/shown_file.hpp"

namespace kimberlite::formats {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

constexpr uint64_t kSide = 24, kPixels = kSide * kSide, kValues = 3 * kPixels;
constexpr uint64_t kWidth = 32, kPositions = 5, kFrame = 96;
const std::string kEmbedder = "model.vision_embedder.";
const std::string kVisionOut = "model.embed_vision.embedding_projection.weight";
const std::string kAudioOut = "model.embed_audio.embedding_projection.weight";

/// Eight by eight pixels, three by three of them merged; all widths differ.
Folder media_folder() {
  Folder folder;
  folder.config["vision_config"] = {{"model_type", "gemma4_unified_vision"},
                                    {"patch_size", 8},
                                    {"pooling_kernel_size", 3},
                                    {"model_patch_size", kSide},
                                    {"mm_embed_dim", kWidth},
                                    {"mm_posemb_size", kPositions},
                                    {"output_proj_dims", kWidth},
                                    {"rms_norm_eps", 1e-6}};
  folder.config["audio_config"] = {
      {"model_type", "gemma4_unified_audio"}, {"audio_embed_dim", kFrame}, {"rms_norm_eps", 1e-6}};
  folder.shapes[kEmbedder + "patch_ln1.weight"] = {kValues};
  folder.shapes[kEmbedder + "patch_ln1.bias"] = {kValues};
  folder.shapes[kEmbedder + "patch_dense.weight"] = {kWidth, kValues};
  folder.shapes[kEmbedder + "patch_dense.bias"] = {kWidth};
  for (const char* norm : {"patch_ln2", "pos_norm"}) {
    folder.shapes[kEmbedder + norm + ".weight"] = {kWidth};
    folder.shapes[kEmbedder + norm + ".bias"] = {kWidth};
  }
  folder.shapes[kEmbedder + "pos_embedding"] = {kPositions, 2, kWidth};
  folder.shapes[kVisionOut] = {kHidden, kWidth};
  folder.shapes[kAudioOut] = {kHidden, kFrame};
  return folder;
}

Converted convert_media(const Folder& folder, GgmlType type = GgmlType::bf16) {
  return Converted(folder, {.mmproj = true, .type = type});
}

/// The message, and nothing is left beside the folder's own three files.
std::string error_of(const Folder& folder) {
  const Converted done = convert_media(folder);
  EXPECT_EQ(done.folder.n_files(), done.report.ok() ? 4u : 3u);
  return done.error();
}

TEST(ConvertMedia, EveryKey) {
  const Converted done = convert_media(media_folder());
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  Shown keys = shown_keys(*file);
  EXPECT_THAT(keys["general.name"], HasSubstr("string kimberlite_ConvertMedia"));
  keys.erase("general.name");
  const Shown expected = {{"general.architecture", "string clip"},
                          {"general.type", "string mmproj"},
                          {"general.file_type", "u32 32"},
                          {"general.quantization_version", "u32 2"},
                          {"clip.has_vision_encoder", "bool true"},
                          {"clip.has_audio_encoder", "bool true"},
                          {"clip.vision.projector_type", "string gemma4uv"},
                          {"clip.vision.image_size", "u32 224"},
                          {"clip.vision.patch_size", "u32 8"},
                          {"clip.vision.embedding_length", "u32 32"},
                          {"clip.vision.feed_forward_length", "u32 0"},
                          {"clip.vision.block_count", "u32 0"},
                          {"clip.vision.projection_dim", "u32 64"},
                          {"clip.vision.attention.head_count", "u32 0"},
                          {"clip.vision.attention.layer_norm_epsilon", "f32 1e-06"},
                          {"clip.vision.image_mean", "f32[3] 0 0 0"},
                          {"clip.vision.image_std", "f32[3] 1 1 1"},
                          {"clip.audio.projector_type", "string gemma4ua"},
                          {"clip.audio.num_mel_bins", "u32 128"},
                          {"clip.audio.embedding_length", "u32 96"},
                          {"clip.audio.feed_forward_length", "u32 0"},
                          {"clip.audio.block_count", "u32 0"},
                          {"clip.audio.projection_dim", "u32 64"},
                          {"clip.audio.attention.head_count", "u32 0"},
                          {"clip.audio.attention.layer_norm_epsilon", "f32 1e-06"}};
  EXPECT_EQ(keys, expected);
}

TEST(ConvertMedia, EveryTensor) {
  for (const char* type : {"f32", "bf16", "q8_0", "q4_0"}) {
    const Folder source = media_folder();
    const Converted done = convert_media(source, *find_ggml_type(type));
    ASSERT_EQ(done.error(), "");
    const auto file = GgufFile::open(done.path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const bool small = traits(*find_ggml_type(type)).block_elems > 1;
    const std::string patches = small ? type : "f32", positions = small ? "f16" : "f32";
    const Shown expected = {{"v.patch_embd.weight", patches + " [1728, 32]"},
                            {"v.patch_embd.bias", "f32 [32]"},
                            {"v.patch_norm.1.weight", "f32 [1728]"},
                            {"v.patch_norm.1.bias", "f32 [1728]"},
                            {"v.patch_norm.2.weight", "f32 [32]"},
                            {"v.patch_norm.2.bias", "f32 [32]"},
                            {"v.patch_norm.3.weight", "f32 [32]"},
                            {"v.patch_norm.3.bias", "f32 [32]"},
                            {"v.position_embd.weight", positions + " [32, 5, 2]"},
                            {"mm.input_projection.weight", std::string(type) + " [32, 64]"},
                            {"mm.a.input_projection.weight", std::string(type) + " [96, 64]"}};
    EXPECT_EQ(shown_tensors(*file), expected);
    EXPECT_EQ(done.report->n_tensors, expected.size());
    EXPECT_EQ(done.report->n_skipped, source.shapes.size() - expected.size());
    EXPECT_TRUE(done.report->notes.empty());
  }
}

/// Element i of `name` is element from(i) of the checkpoint's `source_name`.
void expect_values(
    const GgufFile& file, const Folder& source, const char* name, const std::string& source_name,
    const std::function<uint64_t(uint64_t)>& from = [](uint64_t i) { return i; }) {
  const TensorInfo* tensor = file.find_tensor(name);
  ASSERT_NE(tensor, nullptr) << name;
  const std::vector<float> values = values_of(*tensor);
  for (uint64_t i = 0; i < values.size(); ++i) {
    const float exact = Folder::value(source.order(source_name), from(i));
    ASSERT_EQ(values[i], bfloat_to_float(float_to_bfloat(exact))) << name << " " << i;
  }
}

TEST(ConvertMedia, EveryValue) {
  const Folder source = media_folder();
  const Converted done = convert_media(source);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  // Planes of red, green and blue from pixels of three, row by row of the patch.
  std::vector<uint64_t> planar;
  for (uint64_t colour = 0; colour < 3; ++colour) {
    for (uint64_t y = 0; y < kSide; ++y) {
      for (uint64_t x = 0; x < kSide; ++x) planar.push_back((y * kSide + x) * 3 + colour);
    }
  }
  const auto pixels = [&](uint64_t i) { return i / kValues * kValues + planar[i % kValues]; };
  // A table of columns and one of rows from pairs of the two.
  std::vector<uint64_t> axes;
  for (uint64_t axis = 0; axis < 2; ++axis) {
    for (uint64_t p = 0; p < kPositions; ++p) {
      for (uint64_t i = 0; i < kWidth; ++i) axes.push_back((p * 2 + axis) * kWidth + i);
    }
  }
  expect_values(*file, source, "v.patch_embd.weight", kEmbedder + "patch_dense.weight", pixels);
  expect_values(*file, source, "v.patch_norm.1.weight", kEmbedder + "patch_ln1.weight", pixels);
  expect_values(*file, source, "v.patch_norm.1.bias", kEmbedder + "patch_ln1.bias", pixels);
  expect_values(*file, source, "v.position_embd.weight", kEmbedder + "pos_embedding",
                [&](uint64_t i) { return axes[i]; });
  expect_values(*file, source, "v.patch_embd.bias", kEmbedder + "patch_dense.bias");
  expect_values(*file, source, "v.patch_norm.2.weight", kEmbedder + "patch_ln2.weight");
  expect_values(*file, source, "v.patch_norm.2.bias", kEmbedder + "patch_ln2.bias");
  expect_values(*file, source, "v.patch_norm.3.weight", kEmbedder + "pos_norm.weight");
  expect_values(*file, source, "v.patch_norm.3.bias", kEmbedder + "pos_norm.bias");
  expect_values(*file, source, "mm.input_projection.weight", kVisionOut);
  expect_values(*file, source, "mm.a.input_projection.weight", kAudioOut);
}

TEST(ConvertMedia, TheNamesInsideTransformersGiveTheSameTensors) {
  const Folder source = media_folder();
  Folder renamed = media_folder();
  for (const auto& [name, shape] : source.shapes) {
    if (!name.starts_with(kEmbedder) && name != kVisionOut) continue;
    renamed.shapes.erase(name);
    const std::string part = name == kVisionOut ? "multimodal_embedder.embedding_projection.weight"
                                                : name.substr(kEmbedder.size());
    renamed.shapes["model.embed_vision." + part] = shape;
  }
  const Converted released = convert_media(source), done = convert_media(renamed);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  EXPECT_EQ(shown_tensors(*file), shown_tensors(*GgufFile::open(released.path)));
  expect_values(*file, renamed, "mm.input_projection.weight",
                "model.embed_vision.multimodal_embedder.embedding_projection.weight");
  expect_values(*file, renamed, "v.patch_norm.3.bias", "model.embed_vision.pos_norm.bias");
}

TEST(ConvertMedia, OneOfTheTwo) {
  Folder pictures = media_folder(), sounds = media_folder();
  pictures.config["audio_config"] = nullptr;
  pictures.shapes.erase(kAudioOut);
  const Converted seen = convert_media(pictures);
  ASSERT_EQ(seen.error(), "");
  const auto eyes = GgufFile::open(seen.path);
  EXPECT_EQ(*eyes->boolean("clip.has_audio_encoder"), false);
  EXPECT_TRUE(shown_keys(*eyes, {"clip.audio."}).empty());
  EXPECT_EQ(eyes->tensors().size(), 10u);
  sounds.config.erase("vision_config");
  std::erase_if(sounds.shapes, [](const auto& entry) {
    return entry.first.starts_with(kEmbedder) || entry.first == kVisionOut;
  });
  const Converted heard = convert_media(sounds);
  ASSERT_EQ(heard.error(), "");
  const auto ears = GgufFile::open(heard.path);
  EXPECT_EQ(*ears->boolean("clip.has_vision_encoder"), false);
  EXPECT_TRUE(shown_keys(*ears, {"clip.vision."}).empty());
  EXPECT_EQ(ears->tensors().size(), 1u);
}

TEST(ConvertMedia, AnotherMergeIsAKey) {
  Folder source = media_folder();
  source.config["vision_config"]["patch_size"] = 12;
  source.config["vision_config"]["pooling_kernel_size"] = 2;
  const Converted done = convert_media(source);
  ASSERT_EQ(done.error(), "");
  const auto file = GgufFile::open(done.path);
  EXPECT_EQ(*file->u32("clip.vision.patch_size"), 12u);
  EXPECT_EQ(*file->u32("clip.vision.projector.scale_factor"), 2u);
}

TEST(ConvertMedia, RowsThatAreNoWholeBlocksFallBackWithANote) {
  Folder source = media_folder();
  source.config["audio_config"]["audio_embed_dim"] = 80;
  source.shapes[kAudioOut] = {kHidden, 80};
  const Converted done = convert_media(source, GgmlType::q8_0);
  ASSERT_EQ(done.error(), "");
  EXPECT_THAT(done.report->notes, Contains(HasSubstr("mm.a.input_projection.weight is f16")));
  EXPECT_EQ(GgufFile::open(done.path)->find_tensor("mm.a.input_projection.weight")->type,
            GgmlType::f16);
}

TEST(ConvertMedia, RefusesTensorsThatDoNotFit) {
  Folder folder = media_folder();
  folder.shapes.erase(kEmbedder + "pos_norm.bias");
  EXPECT_THAT(error_of(folder),
              HasSubstr("model.vision_embedder.pos_norm.bias: missing, expected shape [32]"));
  folder = media_folder();
  folder.shapes.erase(kAudioOut);
  EXPECT_THAT(error_of(folder), HasSubstr("model.embed_audio.embedding_projection.weight: missing, "
                                          "expected shape [64, 96]"));
  folder = media_folder();
  folder.shapes[kEmbedder + "patch_dense.weight"] = {kWidth, 105};
  EXPECT_THAT(error_of(folder),
              HasSubstr("patch_dense.weight: expected [32, 1728], file has [32, 105]"));
  folder = media_folder();
  folder.shapes[kEmbedder + "pos_embedding"] = {2, kPositions, kWidth};
  EXPECT_THAT(error_of(folder), HasSubstr("pos_embedding: expected [5, 2, 32], file has [2, 5, "
                                          "32]"));
  folder = media_folder();
  folder.shapes["model.vision_tower.std_bias"] = {kWidth};
  EXPECT_THAT(error_of(folder), HasSubstr("model.vision_tower.std_bias: not a tensor of the "
                                          "projector"));
  folder = media_folder();
  folder.spoiled = kEmbedder + "patch_dense.weight";
  EXPECT_THAT(error_of(folder), HasSubstr("patch_dense.weight: element 55295 is nan"));
}

TEST(ConvertMedia, RefusesConfigsThatDoNotFit) {
  const auto error_with = [](const char* part, const char* key, const json& value) {
    Folder folder = media_folder();
    folder.config[part][key] = value;
    return error_of(folder);
  };
  EXPECT_THAT(error_with("vision_config", "mm_embed_dim", nullptr),
              HasSubstr("vision_config: mm_embed_dim: missing"));
  EXPECT_THAT(error_with("vision_config", "patch_size", 0), HasSubstr("patch_size: expected an "
                                                                      "integer from 1 to 256, "
                                                                      "found 0"));
  EXPECT_THAT(error_with("vision_config", "mm_posemb_size", 7),
              HasSubstr("pos_embedding: expected [7, 2, 32], file has [5, 2, 32]"));
  EXPECT_THAT(error_with("vision_config", "model_patch_size", 8),
              HasSubstr("model_patch_size is 8, patch_size * pooling_kernel_size is 24"));
  EXPECT_THAT(error_with("vision_config", "output_proj_dims", 64),
              HasSubstr("output_proj_dims is 64, mm_embed_dim is 32"));
  EXPECT_THAT(error_with("vision_config", "rms_norm_eps", 0.0),
              HasSubstr("vision_config: rms_norm_eps: 0 is not above 0"));
  EXPECT_THAT(error_with("audio_config", "audio_samples_per_token", 640),
              HasSubstr("audio_samples_per_token is 640, audio_embed_dim is 96"));
  EXPECT_THAT(error_with("audio_config", "rms_norm_eps", 1e-5),
              HasSubstr("audio_config: rms_norm_eps is 1e-05, readers of gemma4ua take 1e-06"));
  EXPECT_THAT(error_with("text_config", "hidden_size", "wide"), HasSubstr("found wide"));
}

TEST(ConvertMedia, RefusesModelsWithoutThisProjector) {
  Folder folder = media_folder();
  folder.config["model_type"] = "gemma4_unified_assistant";
  EXPECT_THAT(error_of(folder), HasSubstr("is a drafter, which has no projector"));
  folder.config["model_type"] = "llama";
  EXPECT_THAT(error_of(folder), HasSubstr("model_type llama has no projector, expected "
                                          "gemma4_unified or gemma4"));
  folder = media_folder();
  folder.config["vision_config"] = nullptr;
  folder.config["audio_config"] = nullptr;
  EXPECT_THAT(error_of(folder), HasSubstr("neither vision_config nor audio_config is there"));
  folder = media_folder();
  std::erase_if(folder.shapes, [](const auto& entry) {
    return !entry.first.starts_with("model.language_model.");
  });
  EXPECT_THAT(error_of(folder), HasSubstr("none of the 29 tensors is one of vision or audio"));
}

}  // namespace
}  // namespace kimberlite::formats
