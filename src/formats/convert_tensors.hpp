// Which tensors of a Hugging Face Gemma 4 text model or drafter go into the GGUF file, under which
// names and in which types. Internal to formats.
#pragma once

#include "base/result.hpp"
#include "formats/convert_config.hpp"
#include "formats/convert_planner.hpp"

namespace kimberlite::formats {

/// Matches every tensor that the config predicts, by name and exact shape, and accounts for every
/// other tensor in the files. The plan borrows from `files`.
Result<TensorPlan> plan_tensors(const HfTextConfig& config, const Safetensors& files,
                                GgmlType type);

}  // namespace kimberlite::formats
