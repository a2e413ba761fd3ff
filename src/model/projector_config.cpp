#include "model/projector_config.hpp"

#include <fmt/format.h>

#include "model/projector_keys.hpp"

namespace kimberlite::model {
namespace {

using formats::GgufFile;

constexpr std::string_view kArchitecture = "clip";
constexpr std::string_view kVisionType = "gemma4uv";
constexpr std::string_view kTowerType = "gemma4v";
constexpr std::string_view kAudioType = "gemma4ua";
constexpr std::string_view kConformerType = "gemma4a";

/// The type of one modality's projector, which a file with one modality alone may say without it.
struct ProjectorType {
  std::string key;
  std::string_view name;
};
Result<ProjectorType> read_type(const GgufFile& file, std::string_view modality) {
  ProjectorType type;
  type.key = fmt::format("clip.{}.projector_type", modality);
  if (!file.has(type.key)) type.key = "clip.projector_type";
  KL_ASSIGN(type.name, file.str(type.key));
  return type;
}

Error refuse_type(const GgufFile& file, const ProjectorType& type, std::string_view expected) {
  return {ErrorCode::unsupported,
          fmt::format("{}: {} is '{}', expected {}", file.path(), type.key, type.name, expected)};
}

/// What the file says about sounds, but for the width of the embeddings.
Result<AudioConfig> read_audio(const GgufFile& file) {
  KL_ASSIGN(const ProjectorType type, read_type(file, "audio"));
  AudioConfig audio;
  if (type.name == kConformerType) {
    KL_ASSIGN(audio.conformer, read_conformer_config(file));
  } else if (type.name != kAudioType) {
    return refuse_type(file, type, fmt::format("'{}' or '{}'", kAudioType, kConformerType));
  }
  return audio;
}

/// A picture without an encoder.
Result<VisionConfig> read_plain_vision(const GgufFile& file) {
  VisionConfig vision;
  KL_ASSIGN(vision.width, read_size(file, "clip.vision.embedding_length", 32, kMaxProjectorWidth));
  KL_ASSIGN(const PatchSides sides, read_patch_sides(file));
  vision.side = sides.token();
  KL_ASSIGN(vision.rms_eps, read_eps(file, "clip.vision.attention.layer_norm_epsilon"));
  KL_TRY(check_pixels(file, "clip.vision.image_mean", 0));
  KL_TRY(check_pixels(file, "clip.vision.image_std", 1));
  KL_ASSIGN(vision.n_positions, read_patch_positions(file));
  KL_ASSIGN(vision.n_tokens, read_picture_tokens(file, vision.side, vision.n_tokens));
  return vision;
}

Result<VisionConfig> read_vision(const GgufFile& file) {
  KL_ASSIGN(const ProjectorType type, read_type(file, "vision"));
  if (type.name == kVisionType) return read_plain_vision(file);
  if (type.name == kTowerType) return read_vision_tower(file);
  return refuse_type(file, type, fmt::format("'{}' or '{}'", kVisionType, kTowerType));
}

/// Both modalities make embeddings of one width.
Status read_target_width(const GgufFile& file, std::string_view modality, ProjectorConfig& config) {
  const std::string key = fmt::format("clip.{}.projection_dim", modality);
  KL_ASSIGN(const uint32_t width, read_size(file, key, 32, kMaxProjectorWidth));
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
    KL_ASSIGN(config.audio, read_audio(file));
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
