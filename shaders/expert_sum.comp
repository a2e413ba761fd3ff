#version 450
// out[c] = sum_j weights[c][j] * y[c][j]
//
//   y        f32 [n, n_used, width]   width a multiple of 4
//   weights  f32 [n, n_used]          expert_route.comp
//   out      f32 [n, width]
//
// Grid: x = tiles of WORKGROUP vec4, y = column. Accumulation: float32, precise, in the order of j.
// Source: transformers, models/gemma4, Gemma4TextExperts.
#extension GL_GOOGLE_include_directive : require

#include "experts.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ExpertSumPush p; };
layout(binding = 0, std430) readonly buffer Y { vec4 y[]; };
layout(binding = 1, std430) readonly buffer Weights { float weights[]; };
layout(binding = 2, std430) writeonly buffer Out { vec4 result[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.width4) return;
  const uint column = gl_WorkGroupID.y;
  precise vec4 sum = vec4(0.0);
  for (uint j = 0; j < p.n_used; ++j) {
    const uint slot = column * p.n_used + j;
    sum = fma(vec4(weights[slot]), y[slot * p.width4 + i], sum);
  }
  result[column * p.width4 + i] = sum;
}
