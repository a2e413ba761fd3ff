#version 450
// Merges the splits of attention.comp (common/attention_merge.glsl) where it does not do so itself.
//
//   partial  f32 [n_heads of all columns, n_splits, d]   a_s
//   state    f32 [n_heads of all columns, n_splits, 2]   m_s, l_s; l_s = 0 where a split had no keys
//   y, y_q   rows of all heads of a column, as OUTPUTS says (common/round_rows.glsl); 0 where no
//            split had keys
//
// Grid: x = query head, y = column; an invocation takes every so-manieth vec4 of the head.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "attention.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { AttentionMergePush p; };
layout(binding = 0, std430) readonly buffer Partial { vec4 partial[]; };
layout(binding = 1, std430) readonly buffer State { vec2 state[]; };
layout(binding = 2, std430) writeonly buffer Y { vec4 y[]; };
layout(binding = 3, std430) writeonly buffer Yq { uint y_q[]; };

#define OUTPUTS_CONSTANT 1
#include "common/attention_merge.glsl"
#include "common/round_rows.glsl"

void main() {
  const uint head = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint first = head * p.n_splits;
  const float peak = find_split_peak(first, p.n_splits);
  const uint own = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
  for (uint vec = own; vec < p.head_vecs; vec += gl_WorkGroupSize.x) {
    const vec4 value = merge_splits(first, p.n_splits, peak, p.head_vecs, vec);
    const uint at = head * p.head_vecs + vec;
    if (HAS_FLOATS) y[at] = value;
    if (HAS_CODES) round_block(at / 8, at % 8, value, true);
  }
}
