#version 450
// x = x + (a + b), element by element: a patch and its place in the picture, by column and by row.
//
//   x, a, b  f32 [n, width]   width a multiple of 4
//
// Grid: x = vec4 of a row, y = row. Accumulation: float32, two sums. Source: transformers
// `Gemma4VisionPatchEmbedder`.
#extension GL_GOOGLE_include_directive : require

#include "add_rows.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { AddRowsPush p; };
layout(binding = 0, std430) readonly buffer A { vec4 a[]; };
layout(binding = 1, std430) readonly buffer B { vec4 b[]; };
layout(binding = 2, std430) buffer X { vec4 x[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.width4) return;
  const uint place = gl_WorkGroupID.y * p.width4 + i;
  precise const vec4 added = a[place] + b[place];
  precise const vec4 sum = x[place] + added;
  x[place] = sum;
}
