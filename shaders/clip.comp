#version 450
// y = min(max(x, low), high), element by element: where both bounds are broken, high wins.
//
//   x, y  f32 [n, width]   width a multiple of 4; y may be x
//
// Grid: x = vec4 of a row, y = row. Exact. Source: transformers `Gemma4ClippableLinear`.
#extension GL_GOOGLE_include_directive : require

#include "clip.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ClipPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) writeonly buffer Y { vec4 y[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.width4) return;
  const uint place = gl_WorkGroupID.y * p.width4 + i;
  y[place] = min(max(x[place], vec4(p.low)), vec4(p.high));
}
