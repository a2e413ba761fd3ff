#version 450
// x[c] = soft[sources[c]] for the columns that have a source; the other rows of x stay as they are.
//
//   soft     f32 [n_soft, width]   embeddings of pictures and sounds, width a multiple of 4
//   sources  u32 [n]               a row of soft, or kNoSource
//   x        f32 [n, width]
//
// Grid: x = vec4 of a row, y = column. Exact. Source: transformers `Gemma4UnifiedModel.forward`,
// masked_scatter: not scaled as embeddings of tokens are.
#extension GL_GOOGLE_include_directive : require

#include "soft_rows.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { SoftRowsPush p; };
layout(binding = 0, std430) readonly buffer Soft { vec4 soft[]; };
layout(binding = 1, std430) readonly buffer Sources { uint sources[]; };
layout(binding = 2, std430) writeonly buffer X { vec4 x[]; };

void main() {
  const uint column = gl_WorkGroupID.y;
  const uint source = sources[column];
  const uint i = gl_GlobalInvocationID.x;
  if (source != kNoSource && i < p.width4) {
    x[column * p.width4 + i] = soft[source * p.width4 + i];
  }
}
