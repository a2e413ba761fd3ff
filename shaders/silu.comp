#version 450
// y = x * sigmoid(x), element by element.
//
//   x, y  f32 [n, width]   width a multiple of 4; y may be x
//
// Grid: x = vec4 of a row, y = row. A few ulp; exp from products and sums. Source: Elfwing, Uchibe &
// Doya 2017, "Sigmoid-Weighted Linear Units"; transformers `Gemma4AudioFeedForward`.
#extension GL_GOOGLE_include_directive : require

#include "silu.h"
#include "common/silu.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { SiluPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) writeonly buffer Y { vec4 y[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.width4) return;
  const uint place = gl_WorkGroupID.y * p.width4 + i;
  const vec4 value = x[place];
  y[place] = vec4(silu(value.x), silu(value.y), silu(value.z), silu(value.w));
}
