#version 450
// The seam between two blocks of a Gemma layer, for every row:
//
//   x = (x + rms(delta) * post) * scale
//   y = rms(x) * next                      not with ADD_ONLY
//
//   delta  f32 [n_rows, width]   output of attention or of the MLP; width a multiple of 4
//   post   f32 [width]           post-attention or post-feedforward norm
//   x      f32 [n_rows, width]   residual stream, updated in place
//   next   f32 [width]           norm in front of the next block
//   y      f32 [n_rows, width]
//
// Grid: x = row. A row belongs to one subgroup, or to the workgroup with WORKGROUP_ROWS; an
// invocation rereads only what it wrote itself. Accumulation: float32, precise.
// Source: transformers, models/gemma4, Gemma4TextDecoderLayer.forward.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "residual_norm.h"
#include "common/reduce.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ResidualNormPush p; };
layout(binding = 0, std430) readonly buffer Delta { vec4 delta[]; };
layout(binding = 1, std430) readonly buffer Post { vec4 post[]; };
layout(binding = 2, std430) buffer X { vec4 x[]; };
#ifndef ADD_ONLY
layout(binding = 3, std430) readonly buffer Next { vec4 next[]; };
layout(binding = 4, std430) writeonly buffer Y { vec4 y[]; };
#endif

float add_squares(vec4 value, float sum_so_far) {
  precise float sum = sum_so_far;
  sum = fma(value.x, value.x, sum);
  sum = fma(value.y, value.y, sum);
  sum = fma(value.z, value.z, sum);
  sum = fma(value.w, value.w, sum);
  return sum;
}

float rms_factor(float sum) {
  precise const float mean = reduce_add(sum) / float(4 * p.width4);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  return factor;
}

void main() {
  const uint first = ROW_INDEX * p.width4;
  float sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) sum = add_squares(delta[first + i], sum);
  const float delta_factor = rms_factor(sum);

  sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 normed = delta[first + i] * delta_factor;
    precise const vec4 weighted = normed * post[i];
    precise const vec4 added = x[first + i] + weighted;
    precise const vec4 value = added * p.scale;
    x[first + i] = value;
    sum = add_squares(value, sum);
  }
#ifndef ADD_ONLY
  const float x_factor = rms_factor(sum);

  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 normed = x[first + i] * x_factor;
    precise const vec4 weighted = normed * next[i];
    y[first + i] = weighted;
  }
#endif
}
