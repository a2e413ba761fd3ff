// Files that belong to a model and lie beside it: drafters, projectors.
#pragma once

#include <string>
#include <vector>

namespace kimberlite::runtime {

/// GGUF files in the folder of `model_path` that are smaller, as all companions are, in the order
/// of their names.
[[nodiscard]] std::vector<std::string> list_companions(const std::string& model_path);

}  // namespace kimberlite::runtime
