// ProjectorConfig: what a GGUF file says about a projector ("mmproj"), which makes embeddings for a
// target of pictures and sounds: gemma4uv and gemma4ua of Gemma 4 12B, which have no encoders, and
// gemma4v and gemma4a of the others, which have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "model/config.hpp"
#include "model/conformer_config.hpp"
#include "model/vision_tower_config.hpp"

namespace kimberlite::model {

/// Pictures, in patches of side * side pixels, each of which becomes a token.
struct VisionConfig {
  uint32_t width = 0;        // of a patch's embedding before the projection
  uint32_t side = 0;         // of a patch, in pixels
  uint32_t n_positions = 0;  // columns and rows that a picture may have
  uint32_t n_tokens = 280;   // that a picture takes at most, unless somebody wants more
  float rms_eps = 0;
  std::optional<TowerConfig> tower;  // the encoder, whose own patches are smaller

  /// Values of a patch: a plane for each colour.
  [[nodiscard]] uint32_t n_values() const { return 3 * side * side; }
};

/// Sounds, in frames of 40 ms at 16 kHz; with an encoder in mel frames, four of which become a
/// token.
struct AudioConfig {
  uint32_t n_samples = 640;  // of a frame
  float rms_eps = 1e-6f;     // what every reader takes, whatever a file says
  std::optional<ConformerConfig> conformer;

  /// Values of a row in front of the projection.
  [[nodiscard]] uint32_t projected_width() const {
    return conformer ? conformer->output_width : n_samples;
  }
};

struct ProjectorConfig {
  std::string name;
  uint32_t target_width = 0;  // of the embeddings
  std::optional<VisionConfig> vision;
  std::optional<AudioConfig> audio;
};

/// Whether the file says that it holds a projector of any kind.
[[nodiscard]] bool is_projector(const formats::GgufFile& file);

/// Errors: bad_file (a missing, mistyped or impossible value, naming key and values), unsupported
/// (no projector, or one of another type, by its name).
Result<ProjectorConfig> read_projector_config(const formats::GgufFile& file);

/// The part of a gemma4v; its type has been checked. Errors: as read_projector_config.
Result<VisionConfig> read_vision_tower(const formats::GgufFile& file);

/// Whether the projector's embeddings have the width of such a target. Errors: invalid_argument,
/// naming both values.
Status check_projector(const ProjectorConfig& projector, const ModelConfig& target);

}  // namespace kimberlite::model
