// The workgroup of kernels that reduce over a row: a subgroup on CPU drivers, where barriers cost
// microseconds, a workgroup of several subgroups elsewhere (shaders/common/reduce.glsl).
#pragma once

#include <algorithm>
#include <cstdint>

#include "graph/kernel_desc.hpp"

namespace kimberlite::kernels {

/// Whether rows may belong to workgroups on this device.
inline bool has_workgroup_rows(const vk::Caps& caps) { return !caps.is_cpu; }

/// Invocations of a workgroup, for variants named "workgroup" and "portable".
inline uint32_t row_workgroup_size(const graph::Variant& variant, const vk::Caps& caps) {
  if (variant.name != "workgroup") return caps.subgroup_size;
  return std::min<uint32_t>(256, caps.max_workgroup_size);
}

}  // namespace kimberlite::kernels
