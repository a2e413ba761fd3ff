#version 450
// out = gelu_tanh(gate) * up, element by element.
//
//   gate    f32 [n, gate_stride]   the elements gate_first.. of each row
//   up      f32 [n, up_stride]     the elements up_first.. of each row
//   y, y_q  rows of width elements, as OUTPUTS says (common/round_rows.glsl); y may be gate or up
//           itself where they have this shape; rounded rows have a multiple of 32 elements
//
// Grid: x = tiles of 4 elements an invocation, y = row. Accumulation: none; every operation is
// precise, so that an element's bits do not depend on n.
// Source: Shazeer 2020, "GLU Variants Improve Transformer"; transformers, gelu_pytorch_tanh.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "geglu.h"
#include "common/tanh.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { GegluPush p; };
layout(binding = 0, std430) readonly buffer Gate { float gate[]; };
layout(binding = 1, std430) readonly buffer Up { float up[]; };
layout(binding = 2, std430) writeonly buffer Y { float y[]; };
layout(binding = 3, std430) writeonly buffer Yq { uint y_q[]; };

#define OUTPUTS_CONSTANT 1
#include "common/round_rows.glsl"

void main() {
  const uint row = gl_WorkGroupID.y;
  const uint gate_row = row * p.gate_stride + p.gate_first;
  const uint up_row = row * p.up_stride + p.up_first;
  const uint own = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
  const uint vec = gl_WorkGroupID.x * gl_WorkGroupSize.x + own;
  vec4 value = vec4(0.0);
  [[unroll]] for (uint c = 0; c < 4; ++c) {
    const uint i = 4 * vec + c;
    if (i >= p.width) continue;
    precise const float gated = gelu_tanh(gate[gate_row + i]) * up[up_row + i];
    value[c] = gated;
    if (HAS_FLOATS) y[row * p.width + i] = gated;
  }
  if (HAS_CODES) round_block(row * p.width / 32 + vec / 8, vec % 8, value, 4 * vec < p.width);
}
