// The encoder of pictures of a Gemma 4 folder (gemma4v): its part of the projector's GGUF file.
// Internal to formats.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "formats/convert_planner.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {

struct HfTowerConfig {
  uint64_t patch;  // pixels on a side
  uint64_t merge;  // patches on a side of what becomes one vector
  uint64_t width;
  uint64_t ffn;
  uint64_t n_layers;
  uint64_t n_heads;
  uint64_t n_positions;  // columns, and rows, of patches that have a position of their own
  bool clips;            // linear layers have bounds
  bool standardises;
  double rms_eps;

  [[nodiscard]] uint64_t side() const { return patch * merge; }
  [[nodiscard]] uint64_t n_values() const { return 3 * patch * patch; }
};

/// Reads and range-checks vision_config. Errors: bad_file, unsupported.
Result<HfTowerConfig> read_hf_tower(const JsonObject& vision);

/// Every clip.vision.* key; `hidden`: of the text model.
void write_hf_tower(const HfTowerConfig& config, uint64_t hidden, GgufWriter& writer);

/// Plans every tensor that the config predicts.
Status add_hf_tower(const HfTowerConfig& config, uint64_t hidden, Planner& planner);

}  // namespace kimberlite::formats
