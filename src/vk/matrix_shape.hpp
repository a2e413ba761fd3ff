// MatrixShape: what a device's matrix units multiply.
#pragma once

#include <cstdint>

namespace kimberlite::vk {

/// A cooperative matrix product of a subgroup: int8 factors [m, k] and [k, n], int32 sums.
struct MatrixShape {
  uint32_t m = 0;
  uint32_t n = 0;
  uint32_t k = 0;
};

}  // namespace kimberlite::vk
