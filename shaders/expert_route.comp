#version 450
// Which experts a column takes and how much each counts:
//
//   the n_used largest scores s_0 >= s_1 >= ..., the lower expert first where they are equal
//   weight_j = e^(s_j - s_0) / sum_i e^(s_i - s_0) * scale[expert_j]
//
// which is the softmax over all experts, cut to the chosen ones and brought to a sum of 1.
//
//   scores   f32 [n, n_experts]   NaN counts as the lowest
//   scale    f32 [n_experts]       a dummy without HAS_SCALE
//   experts  u32 [n, n_used]
//   weights  f32 [n, n_used]
//   tiles    ExpertTile [n * n_used]   OWN_TILES: each slot is a tile, in its own order
//   slots    u32 [n * n_used]          else dummies (expert_tiles.comp writes them)
//
// Grid: x = column; one subgroup has a column. Accumulation: float32, precise, in the order of j.
// Source: transformers, models/gemma4, Gemma4TextRouter.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "experts.h"
#include "matvec.h"
#include "common/portable_math.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool OWN_TILES = false;
layout(constant_id = 2) const bool HAS_SCALE = true;
layout(push_constant, std430) uniform Push { ExpertRoutePush p; };
layout(binding = 0, std430) readonly buffer Scores { float scores[]; };
layout(binding = 1, std430) readonly buffer Scale { float scale[]; };
layout(binding = 2, std430) buffer Experts { uint experts[]; };
layout(binding = 3, std430) buffer Weights { float weights[]; };
layout(binding = 4, std430) writeonly buffer Tiles { ExpertTile tiles[]; };
layout(binding = 5, std430) writeonly buffer Slots { uint slots[]; };

const float kLargest = 3.4e38;

struct Choice {
  float score;
  uint expert;
};

float score_of(uint column, uint expert) {
  const float score = scores[column * p.n_experts + expert];
  return isnan(score) ? -kLargest : clamp(score, -kLargest, kLargest);
}

// The first one behind `last` by falling score and rising number; the same in every lane.
Choice next_choice(uint column, Choice last) {
  Choice best = Choice(-2.0 * kLargest, 0xffffffffu);
  for (uint e = gl_SubgroupInvocationID; e < p.n_experts; e += gl_SubgroupSize) {
    const float score = score_of(column, e);
    const bool behind = score < last.score || (score == last.score && e > last.expert);
    if (behind && score > best.score) best = Choice(score, e);
  }
  const float score = subgroupMax(best.score);
  return Choice(score, subgroupMin(best.score == score ? best.expert : 0xffffffffu));
}

void main() {
  const uint column = gl_WorkGroupID.x;
  const uint first = column * p.n_used;
  Choice choice = Choice(2.0 * kLargest, 0);
  float top = 0.0, sum = 0.0;
  for (uint j = 0; j < p.n_used; ++j) {
    choice = next_choice(column, choice);
    if (j == 0) top = choice.score;
    const float weight = portable_exp(choice.score - top);
    precise const float added = sum + weight;
    sum = added;
    if (subgroupElect()) {
      experts[first + j] = choice.expert;
      weights[first + j] = weight;
      if (OWN_TILES) {
        tiles[first + j] = ExpertTile(choice.expert, first + j, 1);
        slots[first + j] = first + j;
      }
    }
  }
  if (!subgroupElect()) return;
  for (uint j = 0; j < p.n_used; ++j) {
    precise const float share = weights[first + j] / sum;
    precise const float scaled = share * (HAS_SCALE ? scale[experts[first + j]] : 1.0);
    weights[first + j] = scaled;
  }
}
