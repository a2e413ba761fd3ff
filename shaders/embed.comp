#version 450
// y[c][k] = scale * E[token of column c][k] for the columns whose token lies in this shard of the
// packed table; the other rows of y stay as they are.
//
//   codes    wide [n_panels, n_steps, units]   src/kernels/packed_matrix.hpp
//   scales   wide [n_panels, n_steps, units]   a dummy where the type has none
//   columns  Column [n]
//   y        f32 [n, width]
//
// Grid: x = blocks of 32 elements, one an invocation, y = column. No sums; weights as the format
// defines them, times scale in float32. Source: Gemma 4, scaled embedding tied with the head.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "embed.h"
#include "common/columns.h"
#include "common/wide_load.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { EmbedPush p; };
WIDE_BINDING(0, codes)
WIDE_BINDING(1, scales)
layout(binding = 2, std430) readonly buffer Columns { Column columns[]; };
layout(binding = 3, std430) writeonly buffer Y { float y[]; };

#include "common/panel_row.glsl"

void main() {
  const uint wanted = columns[gl_WorkGroupID.y].token;
  const uint token = (wanted < p.vocab_size ? wanted : 0) - p.first_token;
  const uint block = gl_GlobalInvocationID.x;
  if (token < p.n_tokens && block * 32 < p.width) {
    read_block(token, block);
    [[unroll]] for (uint i = 0; i < 32; ++i) {
      const uint k = block * 32 + i;
      precise const float scaled = block_values[i] * p.scale;
      if (k < p.width) y[gl_WorkGroupID.y * p.width + k] = scaled;
    }
  }
}
