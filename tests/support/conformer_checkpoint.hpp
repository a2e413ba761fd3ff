// A tiny encoder of sounds as the Hugging Face folder that `convert --mmproj` reads.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "synthetic/projector_file.hpp"

namespace kimberlite::testing {

/// As write_tower_checkpoint. The scales of queries are what softplus makes the synthetic ones of.
Status write_conformer_checkpoint(const synthetic::ProjectorShape& shape, uint64_t seed,
                                  const std::string& folder);

}  // namespace kimberlite::testing
