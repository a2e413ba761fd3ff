// A Hugging Face folder of F32 tensors, so that nothing is lost on the way to a test.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::testing {

class CheckpointFolder {
 public:
  /// `shape`: the slowest axis first; a scalar has none.
  void add(const std::string& name, const std::vector<uint64_t>& shape,
           const std::vector<float>& values);
  /// config.json and model.safetensors into `folder`, which exists. Errors: io.
  [[nodiscard]] Status write(const nlohmann::json& config, const std::string& folder) const;

 private:
  nlohmann::json header_ = {{"__metadata__", {{"format", "pt"}}}};
  std::string data_;
};

}  // namespace kimberlite::testing
