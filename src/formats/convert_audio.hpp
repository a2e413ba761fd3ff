// The encoder of sounds of a Gemma 4 folder (gemma4a): its part of the projector's GGUF file.
// Internal to formats.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.hpp"
#include "formats/convert_planner.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {

struct HfConformerConfig {
  uint64_t width;
  uint64_t n_layers;
  uint64_t n_heads;
  std::array<uint64_t, 2> channels;  // of the convolutions
  uint64_t output;                   // in front of the projection
  bool clips;                        // linear layers have bounds

  static constexpr uint64_t kMelBins = 128;
  static constexpr uint64_t kTaps = 5;  // of the light convolution

  [[nodiscard]] uint64_t ffn() const { return 4 * width; }
  /// Values of a token behind the convolutions, each of which halves the bins.
  [[nodiscard]] uint64_t n_input() const { return kMelBins / 4 * channels[1]; }
};

/// Reads and range-checks audio_config. Errors: bad_file, unsupported (what no key of a GGUF file
/// could say, by name and value).
Result<HfConformerConfig> read_hf_conformer(const JsonObject& audio);

/// Every clip.audio.* key; `hidden`: of the text model.
void write_hf_conformer(const HfConformerConfig& config, uint64_t hidden, GgufWriter& writer);

/// Plans every tensor that the config predicts.
Status add_hf_conformer(const HfConformerConfig& config, uint64_t hidden, Planner& planner);

}  // namespace kimberlite::formats
