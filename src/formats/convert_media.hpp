// The projector of a Gemma 4 folder, which turns pictures and sounds into the text model's vectors:
// one GGUF file (mmproj) of its own. The parts without encoders (Gemma 4 Unified) are here.
// Internal to formats.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "formats/convert_audio.hpp"
#include "formats/convert_planner.hpp"
#include "formats/convert_vision.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {

struct HfVisionConfig {
  uint64_t patch;        // pixels on a side before merging
  uint64_t merge;        // patches on a side of what becomes one vector
  uint64_t width;        // of the embedding
  uint64_t n_positions;  // columns, and rows, that have a position of their own
  double rms_eps;

  [[nodiscard]] uint64_t side() const { return patch * merge; }
  [[nodiscard]] uint64_t n_values() const { return 3 * side() * side(); }
};

struct HfAudioConfig {
  uint64_t frame;  // samples
  double rms_eps;
};

struct HfMediaConfig {
  uint64_t hidden;  // of the text model
  std::optional<HfVisionConfig> vision;
  std::optional<HfTowerConfig> tower;  // in the place of `vision`: pictures with an encoder
  std::optional<HfAudioConfig> audio;
  std::optional<HfConformerConfig> conformer;  // in the place of `audio`: sounds with an encoder

  [[nodiscard]] bool has_sounds() const { return audio || conformer; }
  /// Pixels on a side of what becomes one vector; 0: no pictures.
  [[nodiscard]] uint64_t token_side() const {
    if (tower) return tower->side();
    return vision ? vision->side() : 0;
  }
};

/// Reads and range-checks what the config.json says of pictures and sounds. Errors: unsupported, by
/// name, for models without a projector.
Result<HfMediaConfig> read_hf_media(const JsonObject& config);

/// Sets general.architecture and every clip.* key.
void write_hf_media(const HfMediaConfig& config, GgufWriter& writer);

/// clip.vision.image_max_pixels from processor_config.json, where that is there and says how many
/// tokens a picture takes at most. Errors: bad_file.
Status write_hf_processor(const std::string& dir, const HfMediaConfig& config, GgufWriter& writer);

/// Matches every tensor that the config predicts and every media tensor in the files; those of the
/// text model are skipped. The plan borrows from `files`.
Result<TensorPlan> plan_media_tensors(const HfMediaConfig& config, const Safetensors& files,
                                      GgmlType type);

// What the parts with encoders share with those without.

/// rms_norm_eps, above 0.
Result<double> read_hf_eps(const JsonObject& config);

/// Sides of a patch in pixels and of a token in patches.
struct HfPatches {
  uint64_t patch;
  uint64_t merge;
};
/// The keys of pixels.
void write_hf_patches(const HfPatches& patches, GgufWriter& writer);

/// An encoder; zeros where there is none.
struct HfEncoder {
  uint64_t width;  // of what goes into the projection
  uint64_t ffn = 0;
  uint64_t n_layers = 0;
  uint64_t n_heads = 0;
  uint64_t hidden;  // of the text model
  double rms_eps;
};
/// `prefix`: "clip.vision" or "clip.audio".
void write_hf_encoder(std::string_view prefix, const HfEncoder& encoder, GgufWriter& writer);

/// The first of the names, with the suffix, that the files have, or the first of all, to be missed
/// by name.
std::string pick_hf_name(const Planner& planner, std::span<const std::string_view> names,
                         std::string_view suffix = {});

/// The bounds of a linear layer, X.input_min and so on, by what is in front of these endings there
/// and here. One that lets everything pass is not written.
Status add_hf_bounds(const std::string& stem, const std::string& source_stem, Planner& planner);

/// The matrix behind pictures.
std::string pick_hf_vision_projection(const Planner& planner);

}  // namespace kimberlite::formats
