// The tensors of a synthetic encoder of sounds, for synthetic/projector_file.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "synthetic/shapes.hpp"

namespace kimberlite::synthetic {

struct ConformerShape {
  uint32_t hidden;
  uint32_t n_layers;
  uint32_t n_heads;
  uint32_t n_channels;  // of the second convolution
  uint32_t output;      // in front of the projection

  static constexpr uint32_t kFirstChannels = 128;
};

/// Every tensor but the projection, in the order of the file; all linear layers have bounds.
std::vector<TensorSpec> list_conformer_tensors(const ConformerShape& shape);

}  // namespace kimberlite::synthetic
