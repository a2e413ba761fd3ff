#version 450
// The seam between two blocks of a Gemma layer, for every row:
//
//   x = (x + rms(delta) * post) * scale    PLAIN_DELTA: x = (x + delta) * scale
//   y = rms(x) * next                      ADD_ONLY: y = x
//
//   delta  f32 [n_rows, width]   output of attention or of the MLP; width a multiple of 4
//   post   f32 [width]           post-attention or post-feedforward norm
//   x      f32 [n_rows, width]   residual stream, updated in place
//   next   f32 [width]           norm in front of the next block
//   y, y_q                       rows as OUTPUTS says (common/round_rows.glsl); rounded ones have a
//                                multiple of 32 elements and 8 lanes or more in a subgroup
//
// EXPERT_INPUTS, in front of a mixture of experts: two more norms of the same x, router_y (float32)
// and experts_y (as y).
// EXPERT_SUM, behind one: delta is computed first, where w_j are the weights of the column's slots:
//
//   delta = rms(mlp) * mlp_norm + rms(sum_j w_j outs_j) * outs_norm
//
//   mlp      f32 [n_rows, width]           the dense block beside the experts
//   outs     f32 [n_rows, n_used, width]   of the chosen experts
//   weights  f32 [n_rows, n_used]          expert_route.comp
//
// Grid: x = row. A row belongs to one subgroup, or to the workgroup with WORKGROUP_ROWS; an
// invocation rereads only what it wrote itself. Accumulation: float32, precise; experts in the order
// of j. Source: transformers, models/gemma4, Gemma4TextDecoderLayer.forward, Gemma4TextExperts.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "residual_norm.h"
#include "common/reduce.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ResidualNormPush p; };
#ifdef EXPERT_SUM
layout(binding = 0, std430) buffer Delta { vec4 delta[]; };
#else
layout(binding = 0, std430) readonly buffer Delta { vec4 delta[]; };
#endif
layout(binding = 1, std430) readonly buffer Post { vec4 post[]; };
layout(binding = 2, std430) buffer X { vec4 x[]; };
layout(binding = 3, std430) writeonly buffer Y { vec4 y[]; };
layout(binding = 4, std430) writeonly buffer Yq { uint y_q[]; };
layout(binding = 5, std430) readonly buffer Next { vec4 next[]; };
#ifdef EXPERT_INPUTS
layout(binding = 6, std430) readonly buffer RouterNext { vec4 router_next[]; };
layout(binding = 7, std430) writeonly buffer RouterY { vec4 router_y[]; };
layout(binding = 8, std430) readonly buffer ExpertsNext { vec4 experts_next[]; };
layout(binding = 9, std430) writeonly buffer ExpertsY { vec4 experts_y[]; };
layout(binding = 10, std430) writeonly buffer ExpertsYq { uint experts_y_q[]; };
#endif
#ifdef EXPERT_SUM
layout(binding = 6, std430) readonly buffer Mlp { vec4 mlp[]; };
layout(binding = 7, std430) readonly buffer MlpNorm { vec4 mlp_norm[]; };
layout(binding = 8, std430) readonly buffer Outs { vec4 outs[]; };
layout(binding = 9, std430) readonly buffer OutsNorm { vec4 outs_norm[]; };
layout(binding = 10, std430) readonly buffer Weights { float weights[]; };
#endif

#define OUTPUTS_CONSTANT 1
#ifdef EXPERT_INPUTS
#include "common/expert_inputs.glsl"
#else
#include "common/round_rows.glsl"
#endif
#include "common/rms_row.glsl"

#ifdef EXPERT_SUM
vec4 sum_experts(uint i) {
  precise vec4 sum = vec4(0.0);
  for (uint j = 0; j < p.n_used; ++j) {
    const uint slot = ROW_INDEX * p.n_used + j;
    sum = fma(vec4(weights[slot]), outs[slot * p.width4 + i], sum);
  }
  return sum;
}

void combine_experts(uint first) {
  float mlp_sum = 0.0, outs_sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 out_value = sum_experts(i);
    delta[first + i] = out_value;
    outs_sum = add_squares(out_value, outs_sum);
    mlp_sum = add_squares(mlp[first + i], mlp_sum);
  }
  const float mlp_factor = rms_factor(mlp_sum);
  const float outs_factor = rms_factor(outs_sum);
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 both = normed(mlp[first + i], mlp_factor, mlp_norm[i]) +
                              normed(delta[first + i], outs_factor, outs_norm[i]);
    delta[first + i] = both;
  }
}
#endif

#ifndef EXPERT_INPUTS
void store(uint at, vec4 value) {
  if (HAS_FLOATS) y[at] = value;
  if (HAS_CODES) round_block(at / 8, at % 8, value, true);
}
#endif

void main() {
  const uint first = ROW_INDEX * p.width4;
#ifdef EXPERT_SUM
  combine_experts(first);
#endif
  float sum = 0.0;
#ifndef PLAIN_DELTA
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) sum = add_squares(delta[first + i], sum);
  const float delta_factor = rms_factor(sum);
  sum = 0.0;
#endif

  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
#ifdef PLAIN_DELTA
    precise const vec4 added = x[first + i] + delta[first + i];
#else
    precise const vec4 added = x[first + i] + normed(delta[first + i], delta_factor, post[i]);
#endif
    precise const vec4 value = added * p.scale;
    x[first + i] = value;
    sum = add_squares(value, sum);
#ifdef ADD_ONLY
    store(first + i, value);
#endif
  }
#ifndef ADD_ONLY
  const float x_factor = rms_factor(sum);

  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 value = x[first + i];
    store(first + i, normed(value, x_factor, next[i]));
#ifdef EXPERT_INPUTS
    router_y[first + i] = normed(value, x_factor, router_next[i]);
    store_for_experts(first + i, normed(value, x_factor, experts_next[i]));
#endif
  }
#endif
}
