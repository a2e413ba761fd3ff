#version 450
// Activations to int8 per block of 32.
//
//   x    f32 [n_rows, 32 n_blocks]
//   y_q  u32 [n_rows, n_blocks, 12 or 36]   common/round_rows.glsl
//
// Grid: invocations in x, 8 for each block, rows one after another; one has four elements. With
// SPREAD (subgroups of 8 or more) the 8 exchange their maxima, else each reads the whole block.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "quant_act.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool SPREAD = false;
layout(push_constant, std430) uniform Push { QuantActPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) writeonly buffer Yq { uint y_q[]; };

#define OUTPUTS_CONSTANT 2
#include "common/round_rows.glsl"

void main() {
  const uint n_blocks = p.n_blocks * p.n_rows;
  const uint wanted = gl_GlobalInvocationID.x / 8;
  const bool exists = wanted < n_blocks;
  const uint block = min(wanted, n_blocks - 1);
  const uint j = gl_GlobalInvocationID.x % 8;
  if (SPREAD) {
    round_block(block, j, x[block * 8 + j], exists);
    return;
  }
  if (!exists) return;
  float largest = 0.0;
  [[unroll]] for (uint i = 0; i < 8; ++i) largest = max(largest, max4(x[block * 8 + i]));
  const float inverse = inverse_scale(largest);
  store_codes(block, j, round_codes(x[block * 8 + j], inverse));
  if (j != 0) return;
  ivec2 sums = ivec2(0);
  [[unroll]] for (uint i = 0; i < 8; ++i) {
    sums += sum4(round_codes(x[block * 8 + i], inverse)) * ivec2(i < 4, 1);
  }
  store_scale(block, largest, sums);
}
