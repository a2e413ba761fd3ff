#include "model/projector_config.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kimberlite::model {
namespace {

using formats::GgufFile;

constexpr std::string_view kArchitecture = "clip";
constexpr std::string_view kVisionType = "gemma4uv";
constexpr std::string_view kAudioType = "gemma4ua";
constexpr std::string_view kPositions = "v.position_embd.weight";
constexpr uint32_t kDefaultMerge = 3;  // where a file does not say it
// Beyond these a file is broken or hostile; the largest Gemma 4 stays far below.
constexpr uint32_t kMaxWidth = 1u << 17;
constexpr uint32_t kMaxSide = 256;
constexpr uint64_t kMaxPositions = 1u << 20;

/// A u32 that must be a multiple of `step` up to `high`.
Result<uint32_t> read_size(const GgufFile& file, const std::string& key, uint32_t step,
                           uint32_t high) {
  KL_ASSIGN(const uint32_t value, file.u32(key));
  if (value == 0 || value % step != 0 || value > high) {
    return file.key_error(
        key, fmt::format("is {}, expected a multiple of {} up to {}", value, step, high));
  }
  return value;
}

/// The type of one modality's projector, which a file with one modality alone may say without it.
Status check_type(const GgufFile& file, std::string_view modality, std::string_view expected) {
  std::string key = fmt::format("clip.{}.projector_type", modality);
  if (!file.has(key)) key = "clip.projector_type";
  KL_ASSIGN(const std::string_view type, file.str(key));
  if (type == expected) return {};
  return Error{ErrorCode::unsupported,
               fmt::format("{}: {} is '{}', expected '{}'", file.path(), key, type, expected)};
}

Result<float> read_eps(const GgufFile& file, const std::string& key) {
  KL_ASSIGN(const float eps, file.f32(key));
  if (!(eps > 0 && eps < 1)) {
    return file.key_error(key, fmt::format("is {}, expected a number between 0 and 1", eps));
  }
  return eps;
}

/// Pixels are taken as they are: from 0 to 1.
Status check_pixels(const GgufFile& file, const std::string& key, float expected) {
  if (!file.has(key)) return {};
  KL_ASSIGN(const auto values, file.f32_array(key));
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == expected) continue;
    return Error{ErrorCode::unsupported, fmt::format("{}: {}[{}] is {}, expected {}", file.path(),
                                                     key, i, values[i], expected)};
  }
  return {};
}

Result<VisionConfig> read_vision(const GgufFile& file) {
  KL_TRY(check_type(file, "vision", kVisionType));
  VisionConfig vision;
  KL_ASSIGN(vision.width, read_size(file, "clip.vision.embedding_length", 32, kMaxWidth));
  KL_ASSIGN(const uint32_t patch, read_size(file, "clip.vision.patch_size", 1, kMaxSide));
  const std::string merge_key = "clip.vision.projector.scale_factor";
  KL_ASSIGN(const uint32_t merge, file.u32_or(merge_key, kDefaultMerge));
  if (merge == 0 || merge > kMaxSide / patch || patch * merge % 16 != 0) {
    return file.key_error(
        merge_key, fmt::format("is {}: patches of {} pixels make a side that is no multiple of 16 "
                               "up to {}",
                               merge, patch, kMaxSide));
  }
  vision.side = patch * merge;
  KL_ASSIGN(vision.rms_eps, read_eps(file, "clip.vision.attention.layer_norm_epsilon"));
  KL_TRY(check_pixels(file, "clip.vision.image_mean", 0));
  KL_TRY(check_pixels(file, "clip.vision.image_std", 1));
  const formats::TensorInfo* positions = file.find_tensor(kPositions);
  if (positions == nullptr) {
    return Error{ErrorCode::bad_file, fmt::format("{}: no tensor {}", file.path(), kPositions)};
  }
  if (positions->ne[1] == 0 || positions->ne[1] > kMaxPositions) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} has {} positions, expected 1 to {}", file.path(), kPositions,
                             positions->ne[1], kMaxPositions)};
  }
  vision.n_positions = static_cast<uint32_t>(positions->ne[1]);
  const uint32_t patch_pixels = vision.side * vision.side;
  KL_ASSIGN(const uint32_t most_pixels,
            file.u32_or("clip.vision.image_max_pixels", vision.n_tokens * patch_pixels));
  vision.n_tokens = std::max(most_pixels / patch_pixels, 1u);
  return vision;
}

/// Both modalities make embeddings of one width.
Status read_target_width(const GgufFile& file, std::string_view modality, ProjectorConfig& config) {
  const std::string key = fmt::format("clip.{}.projection_dim", modality);
  KL_ASSIGN(const uint32_t width, read_size(file, key, 32, kMaxWidth));
  if (config.target_width != 0 && config.target_width != width) {
    return file.key_error(
        key, fmt::format("is {}, but that of vision is {}", width, config.target_width));
  }
  config.target_width = width;
  return {};
}

}  // namespace

bool is_projector(const GgufFile& file) {
  const auto architecture = file.str("general.architecture");
  return architecture.ok() && *architecture == kArchitecture;
}

Result<ProjectorConfig> read_projector_config(const GgufFile& file) {
  KL_ASSIGN(const std::string_view architecture, file.str("general.architecture"));
  if (architecture != kArchitecture) {
    return Error{ErrorCode::unsupported, fmt::format("{}: general.architecture is '{}', expected "
                                                     "'{}'",
                                                     file.path(), architecture, kArchitecture)};
  }
  ProjectorConfig config;
  KL_ASSIGN(const std::string_view name, file.str_or("general.name", "projector"));
  config.name = name;
  KL_ASSIGN(const bool has_vision, file.boolean_or("clip.has_vision_encoder", false));
  KL_ASSIGN(const bool has_audio, file.boolean_or("clip.has_audio_encoder", false));
  if (!has_vision && !has_audio) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: neither clip.has_vision_encoder nor clip.has_audio_encoder is "
                             "true",
                             file.path())};
  }
  if (has_vision) {
    KL_ASSIGN(config.vision, read_vision(file));
    KL_TRY(read_target_width(file, "vision", config));
  }
  if (has_audio) {
    KL_TRY(check_type(file, "audio", kAudioType));
    config.audio.emplace();
    KL_TRY(read_target_width(file, "audio", config));
  }
  return config;
}

Status check_projector(const ProjectorConfig& projector, const ModelConfig& target) {
  if (projector.target_width == target.width) return {};
  return Error{ErrorCode::invalid_argument,
               fmt::format("the projector '{}' is not one for '{}': width of embeddings is {} "
                           "there and {} here",
                           projector.name, target.name, projector.target_width, target.width)};
}

}  // namespace kimberlite::model
