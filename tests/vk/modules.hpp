// SPIR-V of the shaders beside this file.
#pragma once

#include <cstdint>

namespace kimberlite::vk {

inline constexpr uint32_t kScaleWords[] = {
#include "vk_test/scale.inc"
};
inline constexpr uint32_t kTexelSumWords[] = {
#include "vk_test/texel_sum.inc"
};
inline constexpr uint32_t kSubgroupFactsWords[] = {
#include "vk_test/subgroup_facts.inc"
};

/// Push constants of scale.comp.
struct ScalePush {
  int32_t scale;
  uint32_t n;
};

}  // namespace kimberlite::vk
