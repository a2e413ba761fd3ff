#version 450
// Patches of a picture to its tokens.
//
//   y[t] = scale * mean of x over the merge * merge patches of token t
//   y[t] = (that - bias) * factor          kStandardise
//
//   x  f32 [n_x * merge * n_y * merge, width]   patches row by row; width a multiple of 4
//   bias, factor  f32 [width]                   not read without kStandardise
//   y  f32 [n_y * n_x, width]                   tokens row by row
//
// Grid: x = vec4 of a row, y = token. Accumulation: float32, precise, patches row by row. Source:
// transformers `Gemma4VisionPooler`, `Gemma4VisionModel`.
#extension GL_GOOGLE_include_directive : require

#include "patch_pool.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool kStandardise = false;
layout(push_constant, std430) uniform Push { PatchPoolPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) readonly buffer Bias { vec4 bias[]; };
layout(binding = 2, std430) readonly buffer Factor { vec4 factor[]; };
layout(binding = 3, std430) writeonly buffer Y { vec4 y[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.width4) return;
  const uint token = gl_WorkGroupID.y;
  const uint first = token / p.n_x * p.merge * p.merge * p.n_x + token % p.n_x * p.merge;
  precise vec4 sum = vec4(0.0);
  for (uint index = 0; index < p.merge * p.merge; ++index) {
    const uint row = first + index / p.merge * p.merge * p.n_x + index % p.merge;
    sum = sum + x[row * p.width4 + i];
  }
  precise vec4 result = sum / float(p.merge * p.merge);
  result = result * p.scale;
  if (kStandardise) {
    result = result - bias[i];
    result = result * factor[i];
  }
  y[token * p.width4 + i] = result;
}
