// The projector of a Gemma 4 Unified folder, which turns patches of pixels and frames of samples
// into the text model's vectors: one GGUF file (mmproj) of its own. Internal to formats.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.hpp"
#include "formats/convert_planner.hpp"
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
  std::optional<HfAudioConfig> audio;
};

/// Reads and range-checks what the config.json says of pictures and sounds. Errors: unsupported, by
/// name, for models without a projector or with encoders before it.
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

}  // namespace kimberlite::formats
