#version 450
// out[t] = sum_j softmax_j(cap * tanh(l_j / cap)) v[t - j], for every head, over the kLocalWindow
// rows up to t itself:
//
//   l_j = (q[t] * scale) . (k[t - j] * k_scale + relative[j])   j = 0..kLocalWindow - 1, t - j >= 0
//
//   q, k, v, out  f32 [n, n_heads, d]   d a multiple of 4
//   relative      f32 [kLocalWindow or more, n_heads, d]: of the distance j
//   scale         f32 [d]
//
// Grid: x = head, y = t; a subgroup for each, its lanes over d. Accumulation: float32, precise; tanh
// and exp from products and sums. Source: Dai et al. 2019, "Transformer-XL"; transformers
// `Gemma4AudioAttention`, whose blocks hold what each row sees, and more that it masks.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "local_attention.h"
#include "common/tanh.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { LocalAttentionPush p; };
layout(binding = 0, std430) readonly buffer Q { vec4 q[]; };
layout(binding = 1, std430) readonly buffer K { vec4 k[]; };
layout(binding = 2, std430) readonly buffer V { vec4 v[]; };
layout(binding = 3, std430) readonly buffer Relative { vec4 relative[]; };
layout(binding = 4, std430) readonly buffer Scale { vec4 scale[]; };
layout(binding = 5, std430) writeonly buffer Out { vec4 result[]; };

// The capped logit of row t and the row j before it; the same in every lane.
float logit_of(uint row, uint at, uint j) {
  precise float sum = 0.0;
  for (uint i = gl_SubgroupInvocationID; i < p.d4; i += gl_SubgroupSize) {
    precise const vec4 query = q[at + i] * scale[i];
    precise const vec4 key = fma(k[at - j * row + i], vec4(p.k_scale),
                                 relative[j * row + gl_WorkGroupID.x * p.d4 + i]);
    sum = fma(query.x, key.x, sum);
    sum = fma(query.y, key.y, sum);
    sum = fma(query.z, key.z, sum);
    sum = fma(query.w, key.w, sum);
  }
  precise const float share = subgroupAdd(sum) / p.cap;
  precise const float logit = p.cap * accurate_tanh(share);
  return logit;
}

void main() {
  const uint t = gl_WorkGroupID.y;
  const uint row = gl_NumWorkGroups.x * p.d4;
  const uint at = t * row + gl_WorkGroupID.x * p.d4;
  float weights[kLocalWindow];  // [[unroll]] would lose `precise` (glslc 2023.2)
  float best = 0.0;
  for (uint j = 0; j < kLocalWindow; ++j) {
    weights[j] = 0.0;
    if (j > t) continue;
    weights[j] = logit_of(row, at, j);
    best = j == 0 ? weights[j] : max(best, weights[j]);
  }
  precise float total = 0.0;
  for (uint j = 0; j < kLocalWindow; ++j) {
    precise const float below = weights[j] - best;
    weights[j] = j > t ? 0.0 : portable_exp(below);
    total = total + weights[j];
  }
  for (uint i = gl_SubgroupInvocationID; i < p.d4; i += gl_SubgroupSize) {
    precise vec4 sum = vec4(0.0);
    for (uint j = 0; j < kLocalWindow; ++j) {
      if (j <= t) sum = fma(vec4(weights[j]), v[at - j * row + i], sum);
    }
    precise const vec4 mean = sum / total;
    result[at + i] = mean;
  }
}
