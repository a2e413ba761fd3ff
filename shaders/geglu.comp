#version 450
// out = gelu_tanh(gate) * up, element by element.
//
//   gate  f32 [n, gate_stride]   the elements gate_first.. of each row
//   up    f32 [n, up_stride]     the elements up_first.. of each row
//   out   f32 [n, width]         may be gate or up itself where they have this shape
//
// Grid: x = tiles of 4 elements an invocation, y = row. Accumulation: none; every operation is
// precise, so that an element's bits do not depend on n.
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
  const uint row = gl_WorkGroupID.y;
  const uint gate_row = row * p.gate_stride + p.gate_first;
  const uint up_row = row * p.up_stride + p.up_first;
  uint i = gl_WorkGroupID.x * 4 * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
  for (uint step = 0; step < 4; ++step, i += gl_WorkGroupSize.x) {
    if (i < p.width) {
      precise const float value = gelu_tanh(gate[gate_row + i]) * up[up_row + i];
      result[row * p.width + i] = value;
    }
  }
}
