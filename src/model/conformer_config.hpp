// ConformerConfig: what a GGUF file says about the encoder of sounds of Gemma 4 E2B and E4B
// (gemma4a), which makes tokens of mel frames.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.hpp"
#include "formats/gguf.hpp"

namespace kimberlite::model {

struct ConformerConfig {
  static constexpr uint32_t kMelBins = 128;
  static constexpr float kCap = 50.0f;  // of attention logits
  static constexpr float kEps = 1e-6f;  // what every reader takes, whatever a file says

  uint32_t width = 0;
  uint32_t n_layers = 0;
  uint32_t n_heads = 0;
  uint32_t ffn_width = 0;
  std::array<uint32_t, 2> channels{};  // of the convolutions, each of which halves time and bins
  uint32_t output_width = 0;           // in front of the projection

  [[nodiscard]] uint32_t head_dim() const { return width / n_heads; }
  /// Values of a token behind the convolutions.
  [[nodiscard]] uint32_t n_input() const { return kMelBins / 4 * channels[1]; }
};

/// Errors: bad_file (a missing, mistyped or impossible value, naming key and values), unsupported
/// (what files of other models have: tensors that would change the result, by name).
Result<ConformerConfig> read_conformer_config(const formats::GgufFile& file);

}  // namespace kimberlite::model
