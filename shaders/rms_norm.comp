#version 450
// y = x / sqrt(mean(x^2) + eps) * weight, for every row.
//
//   x       f32 [n_rows, width]   width a multiple of 4
//   weight  f32 [width]           plain multiplier, not 1 + weight
//   y, y_q  rows of width elements, as OUTPUTS says (common/round_rows.glsl); rounded rows have a
//           multiple of 32 elements and lanes of 8 or more in a subgroup
//
// Grid: x = row. A row belongs to one subgroup, or to the workgroup with WORKGROUP_ROWS.
// Accumulation: float32, precise. Source: Zhang & Sennrich 2019, "Root Mean Square Layer
// Normalization", eq. 4; Gemma 4 has the plain weight.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "rms_norm.h"
#include "common/reduce.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { RmsNormPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) readonly buffer Weight { vec4 weight[]; };
layout(binding = 2, std430) writeonly buffer Y { vec4 y[]; };
layout(binding = 3, std430) writeonly buffer Yq { uint y_q[]; };

#define OUTPUTS_CONSTANT 1
#include "common/round_rows.glsl"

void main() {
  const uint first = ROW_INDEX * p.width4;
  precise float sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 value = x[first + i];
    sum = fma(value.x, value.x, sum);
    sum = fma(value.y, value.y, sum);
    sum = fma(value.z, value.z, sum);
    sum = fma(value.w, value.w, sum);
  }
  precise const float mean = reduce_add(sum) / float(4 * p.width4);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 scaled = x[first + i] * factor;
    precise const vec4 result = scaled * weight[i];
    if (HAS_FLOATS) y[first + i] = result;
    if (HAS_CODES) round_block((first + i) / 8, i % 8, result, true);
  }
}
