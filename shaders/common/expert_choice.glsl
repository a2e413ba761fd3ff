// Which experts a column takes and how much each counts:
//
//   the n_used largest scores s_0 >= s_1 >= ..., the lower expert first where they are equal
//   weight_j = e^(s_j - s_0) / sum_i e^(s_i - s_0) * scale[expert_j]
//
// which is the softmax over all experts, cut to the chosen ones and brought to a sum of 1. NaN counts
// as the lowest score. Accumulation: float32, precise, in the order of j. Source: transformers,
// models/gemma4, Gemma4TextRouter.
//
// Includer: push constants `p` with n_experts and n_used, the constants OWN_TILES (each slot is a
// tile, in its own order) and HAS_SCALE, read_score(column, expert), the buffers scale, experts,
// weights, tiles and slots (matvec.h), and GL_KHR_shader_subgroup_arithmetic.
#include "common/portable_math.h"

const float kLargest = 3.4e38;

struct Choice {
  float score;
  uint expert;
};

float score_of(uint column, uint expert) {
  const float score = read_score(column, expert);
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

/// Of one column, by one subgroup.
void choose_experts(uint column) {
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
  if (subgroupElect()) {
    for (uint j = 0; j < p.n_used; ++j) {
      precise const float share = weights[first + j] / sum;
      precise const float scaled = share * (HAS_SCALE ? scale[experts[first + j]] : 1.0);
      weights[first + j] = scaled;
    }
  }
}
