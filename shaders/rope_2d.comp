#version 450
// Head norms of a picture's patches and their rotation by the place in the picture, in place.
//
//   x = rope(rms(x) * weight)    kRotates; else x = rms(x) * weight
//   rope: a head has two halves of s = d / 2 values; in the first angles follow the column, in the
//   second the row:  y[i] = x[i] cos - x[i + s/2] sin,  y[i + s/2] = x[i + s/2] cos + x[i] sin
//
//   x       f32 [n, n_heads, d]   d a multiple of 4
//   weight  f32 [d]
//   places  u32 [n, 2]            column and row of each patch; not read without kRotates
//   table   f32 [n_places, s/2, 2]  cos and sin (kernels::make_rope_2d_table)
//
// Grid: x = head, y = row of x. A head belongs to one subgroup; a lane holds pairs that rotate
// together. Accumulation: float32, precise. Source: Su et al. 2021, "RoFormer", 3.4.2;
// transformers `apply_multidimensional_rope`.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "rope_2d.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kHeadDim = 64;
layout(constant_id = 2) const bool kRotates = true;
layout(push_constant, std430) uniform Push { Rope2dPush p; };
layout(binding = 0, std430) readonly buffer Weight { float weight[]; };
layout(binding = 1, std430) readonly buffer Places { uvec2 places[]; };
layout(binding = 2, std430) readonly buffer Table { vec2 table[]; };
layout(binding = 3, std430) buffer X { float x[]; };

const uint kHalf = kHeadDim / 2;
const uint kPairs = kHeadDim / 4;  // of each half

void main() {
  const uint row = gl_WorkGroupID.y;
  const uint first = (row * p.n_heads + gl_WorkGroupID.x) * kHeadDim;
  precise float sum = 0.0;
  for (uint i = gl_SubgroupInvocationID; i < kHeadDim; i += gl_SubgroupSize) {
    sum = fma(x[first + i], x[first + i], sum);
  }
  precise const float mean = subgroupAdd(sum) / float(kHeadDim);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  for (uint pair = gl_SubgroupInvocationID; pair < kHalf; pair += gl_SubgroupSize) {
    const uint half_index = pair / kPairs, i = pair % kPairs;
    const uint low = half_index * kHalf + i, high = low + kPairs;
    precise float a = x[first + low] * factor;
    a = a * weight[low];
    precise float b = x[first + high] * factor;
    b = b * weight[high];
    vec2 turned = vec2(a, b);
    if (kRotates) {
      const vec2 angle = table[places[row][half_index] * kPairs + i];
      precise const float left = fma(a, angle.x, -b * angle.y);
      precise const float right = fma(b, angle.x, a * angle.y);
      turned = vec2(left, right);
    }
    x[first + low] = turned.x;
    x[first + high] = turned.y;
  }
}
