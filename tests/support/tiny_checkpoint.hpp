// A tiny model as the Hugging Face folder that `convert` reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "synthetic/shapes.hpp"

namespace kimberlite::testing {

/// Writes config.json, generation_config.json, tokenizer.json and model.safetensors into `folder`,
/// which exists. Names, the nesting of the config and the shapes are those of the released
/// checkpoints; every tensor is F32, so that nothing is lost, but the projection of the per-layer
/// inputs, which is BF16 like in the goldens of quantised models. Layers that share keys and values
/// have tensors of their own where the shape says that they are stored. Errors: io.
Status write_tiny_checkpoint(const synthetic::ModelShape& shape, uint64_t seed,
                             const std::string& folder);

/// The values that the checkpoint has for a tensor of the shape.
std::vector<float> checkpoint_values(const synthetic::ModelShape& shape, uint64_t seed,
                                     const synthetic::TensorSpec& tensor);

}  // namespace kimberlite::testing
