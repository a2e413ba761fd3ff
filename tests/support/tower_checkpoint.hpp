// A tiny encoder of pictures as the Hugging Face folder that `convert --mmproj` reads.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "synthetic/projector_file.hpp"

namespace kimberlite::testing {

/// Writes config.json and model.safetensors into `folder`, which exists. Names, the nesting of the
/// config, shapes and the order of values are those of the released checkpoints; every tensor is
/// F32, so that nothing is lost. Errors: io.
Status write_tower_checkpoint(const synthetic::ProjectorShape& shape, uint64_t seed,
                              const std::string& folder);

}  // namespace kimberlite::testing
