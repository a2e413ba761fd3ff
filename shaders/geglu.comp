#version 450
// out = gelu_tanh(gate) * up, element by element.
//
//   gate  f32 [n, width]
//   up    f32 [n, width]
//   out   f32 [n, width]   may be gate or up itself
//
// Grid: x, y = tiles of 4 elements an invocation; x runs fastest. Accumulation: none; every
// operation is precise, so that an element's bits do not depend on n.
// Source: Shazeer 2020, "GLU Variants Improve Transformer"; transformers, gelu_pytorch_tanh.
#extension GL_GOOGLE_include_directive : require

#include "geglu.h"
#include "common/tanh.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { GegluPush p; };
layout(binding = 0, std430) readonly buffer Gate { float gate[]; };
layout(binding = 1, std430) readonly buffer Up { float up[]; };
layout(binding = 2, std430) writeonly buffer Out { float result[]; };

void main() {
  const uint tile = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  uint i = tile * 4 * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
  for (uint step = 0; step < 4; ++step, i += gl_WorkGroupSize.x) {
    if (i < p.n_elements) {
      precise const float value = gelu_tanh(gate[i]) * up[i];
      result[i] = value;
    }
  }
}
