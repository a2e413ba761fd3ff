// TowerConfig: what a GGUF file says about the encoder of pictures that the members of the family
// have, but 12B: gemma4v, a transformer over patches.
#pragma once

#include <cstdint>

namespace kimberlite::model {

struct TowerConfig {
  uint32_t patch = 0;        // pixels on a side of a patch
  uint32_t merge = 0;        // patches on a side of a token
  uint32_t n_positions = 0;  // columns and rows of patches that a picture may have
  uint32_t n_layers = 0;
  uint32_t n_heads = 0;
  uint32_t head_dim = 0;
  uint32_t ffn_width = 0;
  bool standardises = false;  // the pooled patches, with a bias and a factor of its own
  double rope_theta = 100;    // in no file

  /// Values of a patch: a plane for each colour.
  [[nodiscard]] uint32_t n_patch_values() const { return 3 * patch * patch; }
};

}  // namespace kimberlite::model
