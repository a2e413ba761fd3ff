// Looks at every block of every tensor for numbers that no weight can be: NaN, infinity, and scales
// that stand for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf.hpp"

namespace kimberlite::formats {

inline constexpr size_t kFindingsPerTensor = 4;

struct Finding {
  std::string what;  // "value is NaN", "scale is +Inf"
  uint64_t element;  // of the tensor; of a scale the first element of its block
  uint64_t offset;   // of the number in its file
};

struct TensorFindings {
  size_t tensor = 0;  // index in the file
  uint64_t n_bad = 0;
  std::vector<Finding> first;  // up to kFindingsPerTensor, in file order
};

struct VerifyReport {
  uint64_t n_bytes = 0;  // looked at
  uint64_t n_bad = 0;
  std::vector<TensorFindings> bad;  // tensors with findings, in file order
  std::vector<size_t> unchecked;    // tensors of types without a known layout, by index
};

/// `progress` gets (bytes looked at, bytes in all); returning false cancels. `n_threads` 0 is one
/// per processor. The result does not depend on it. Errors: cancelled.
Result<VerifyReport> verify(const GgufFile& file, uint32_t n_threads = 0,
                            const std::function<bool(uint64_t, uint64_t)>& progress = {});

}  // namespace kimberlite::formats
