#version 450
// The seam in front of a mixture of experts, its router's product and the choice of experts in one
// dispatch, for up to 8 columns:
//
//   x = (x + rms(delta) * post) * scale
//   y = rms(x) * next, experts_y = rms(x) * experts_next
//   scores = router (rms(x) * router_next), and what common/expert_choice.glsl makes of them
//
//   delta, post, x, next   as in residual_norm.comp
//   y, y_q, experts_y, experts_y_q   rows as OUTPUTS says (common/round_rows.glsl)
//   codes     wide: the router, packed float32 (src/kernels/packed_matrix.hpp)
//   scale     f32 [n_experts]
//   scores    f32 [n, n_experts]       scratch
//   counters  u32 [n]                  workgroups of a row that have stored their scores
//   experts, weights, tiles, slots     as in expert_route.comp with OWN_TILES
//
// Grid: x = GROUP experts, y = row. Each workgroup computes the row's norms anew, which is as quick
// as waiting for another to do so, and the scores of its experts. The last one stores the row, since
// the others have read x by then, and chooses. With WORKGROUP_ROWS the invocations are elements of
// the row; without it a workgroup is one subgroup, whose lanes are experts in the product.
// Accumulation: float32, precise; the order depends on the device alone. Source: transformers,
// models/gemma4, Gemma4TextDecoderLayer.forward, Gemma4TextRouter.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "expert_seam.h"
#include "experts.h"
#include "matvec.h"
#include "common/reduce.glsl"
#include "common/wide_load.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 2) const uint GROUP = 8;   // experts of a workgroup
layout(constant_id = 3) const uint LANES = 32;  // of a subgroup
layout(push_constant, std430) uniform Push { ExpertSeamPush p; };
layout(binding = 0, std430) readonly buffer Delta { vec4 delta[]; };
layout(binding = 1, std430) readonly buffer Post { vec4 post[]; };
layout(binding = 2, std430) buffer X { vec4 x[]; };
layout(binding = 3, std430) writeonly buffer Y { vec4 y[]; };
layout(binding = 4, std430) writeonly buffer Yq { uint y_q[]; };
layout(binding = 5, std430) readonly buffer Next { vec4 next[]; };
layout(binding = 6, std430) readonly buffer RouterNext { vec4 router_next[]; };
layout(binding = 7, std430) readonly buffer ExpertsNext { vec4 experts_next[]; };
layout(binding = 8, std430) writeonly buffer ExpertsY { vec4 experts_y[]; };
layout(binding = 9, std430) writeonly buffer ExpertsYq { uint experts_y_q[]; };
WIDE_BINDING(10, codes)
layout(binding = 11, std430) readonly buffer Scale { float scale[]; };
layout(binding = 12, std430) coherent buffer Scores { float scores[]; };
layout(binding = 13, std430) coherent buffer Counters { uint counters[]; };
layout(binding = 14, std430) buffer Experts { uint experts[]; };
layout(binding = 15, std430) buffer Weights { float weights[]; };
layout(binding = 16, std430) writeonly buffer Tiles { ExpertTile tiles[]; };
layout(binding = 17, std430) writeonly buffer Slots { uint slots[]; };

const bool OWN_TILES = true;
const bool HAS_SCALE = true;
#define OUTPUTS_CONSTANT 1
#ifdef WORKGROUP_ROWS
#define WORKGROUP_ARRIVALS
shared float held_scores[kMaxExperts];
float read_score(uint row, uint expert) { return held_scores[expert]; }
#else
float read_score(uint row, uint expert) { return scores[row * p.n_experts + expert]; }
#endif
#include "common/expert_choice.glsl"
#include "common/expert_inputs.glsl"
#include "common/last_arrival.glsl"
#include "common/rms_row.glsl"

float delta_factor, x_factor;

/// Element i of the row that starts at `first`, as it will be.
vec4 new_x(uint first, uint i) {
  precise const vec4 added = x[first + i] + normed(delta[first + i], delta_factor, post[i]);
  precise const vec4 value = added * p.scale;
  return value;
}

void find_factors(uint first) {
  float sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) sum = add_squares(delta[first + i], sum);
  delta_factor = rms_factor(sum);
  sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) sum = add_squares(new_x(first, i), sum);
  x_factor = rms_factor(sum);
}

vec4 router_input(uint first, uint i) {
  return normed(new_x(first, i), x_factor, router_next[i]);
}

/// The router's weights of an expert for number i of a row's vec4; rows up to a whole panel exist.
vec4 router_weights(uint expert, uint i) {
  return uintBitsToFloat(LOAD_WIDE(codes, (expert / 64 * p.panel_units + i) * 64 + expert % 64));
}

float add_products(vec4 w, vec4 value, float sum_so_far) {
  precise float sum = sum_so_far;
  sum = fma(w.x, value.x, sum);
  sum = fma(w.y, value.y, sum);
  sum = fma(w.z, value.z, sum);
  sum = fma(w.w, value.w, sum);
  return sum;
}

void store_score(uint row, uint expert, float score) {
  if (expert < p.n_experts) scores[row * p.n_experts + expert] = score;
}

#ifdef WORKGROUP_ROWS
shared float score_parts[GROUP * 64];  // [expert][subgroup]

void score_experts(uint row, uint first) {
  const uint first_expert = gl_WorkGroupID.x * GROUP;
  float sums[GROUP];
  [[unroll]] for (uint e = 0; e < GROUP; ++e) sums[e] = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 value = router_input(first, i);
    [[unroll]] for (uint e = 0; e < GROUP; ++e) {
      sums[e] = add_products(router_weights(first_expert + e, i), value, sums[e]);
    }
  }
  [[unroll]] for (uint e = 0; e < GROUP; ++e) {
    const float part = subgroupAdd(sums[e]);
    if (subgroupElect()) score_parts[e * 64 + gl_SubgroupID] = part;
  }
  barrier();
  for (uint e = ROW_LANE; e < GROUP; e += ROW_LANES) {
    precise float score = 0.0;
    for (uint i = 0; i < gl_NumSubgroups; ++i) score += score_parts[e * 64 + i];
    store_score(row, first_expert + e, score);
  }
}

void choose(uint row) {
  for (uint e = ROW_LANE; e < p.n_experts; e += ROW_LANES) {
    held_scores[e] = scores[row * p.n_experts + e];
  }
  barrier();
  if (gl_SubgroupID == 0) choose_experts(row);
}
#else
const uint ROWS = GROUP / LANES;  // experts of a lane

void score_experts(uint row, uint first) {
  const uint first_expert = gl_WorkGroupID.x * GROUP + gl_SubgroupInvocationID;
  float sums[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) sums[g] = 0.0;
  for (uint at = 0; at < p.width4; at += LANES) {
    // Each lane has a vec4 of the row, which all of them want.
    const vec4 mine = router_input(first, min(at + gl_SubgroupInvocationID, p.width4 - 1));
    const uint n = min(LANES, p.width4 - at);
    for (uint j = 0; j < n; ++j) {
      const vec4 value = subgroupShuffle(mine, j);
      [[unroll]] for (uint g = 0; g < ROWS; ++g) {
        sums[g] = add_products(router_weights(first_expert + g * LANES, at + j), value, sums[g]);
      }
    }
  }
  [[unroll]] for (uint g = 0; g < ROWS; ++g) store_score(row, first_expert + g * LANES, sums[g]);
}

void choose(uint row) { choose_experts(row); }
#endif

void main() {
  const uint row = gl_WorkGroupID.y;
  const uint first = row * p.width4;
  find_factors(first);
  score_experts(row, first);
  if (!is_last_arrival(row, gl_NumWorkGroups.x)) return;
  choose(row);
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 value = new_x(first, i);
    x[first + i] = value;
    store(first + i, normed(value, x_factor, next[i]));
    store_for_experts(first + i, normed(value, x_factor, experts_next[i]));
  }
}
