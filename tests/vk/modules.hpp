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
inline constexpr uint32_t kLoopRoundsWords[] = {
#include "vk_test/loop_rounds.inc"
};
inline constexpr uint32_t kSubgroupFactsWords[] = {
#include "vk_test/subgroup_facts.inc"
};

/// Push constants of scale.comp.
struct ScalePush {
  int32_t scale;
  uint32_t n;
};

/// Push constants of loop_rounds.comp.
struct LoopRoundsPush {
  uint32_t n_outer;
  uint32_t n_inner;
  uint32_t n_after;
};

}  // namespace kimberlite::vk
