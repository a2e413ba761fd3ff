// What all sample_*.comp shaders share: columns and their sequences as the first two bindings, which
// filters are on, sums of 64-bit weights, and which chunk of the vocabulary a subgroup has.
//
// Includer: enables GL_KHR_shader_subgroup_basic and _arithmetic. SEQUENCE_ACCESS is empty where
// the shader moves the sequence on.
#include "common/columns.h"
#include "common/sequence.h"
#include "sample.h"

#ifndef SEQUENCE_ACCESS
#define SEQUENCE_ACCESS readonly
#endif

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { SamplePush p; };
layout(binding = 0, std430) SEQUENCE_ACCESS buffer Columns { Column columns[]; };
layout(binding = 1, std430) SEQUENCE_ACCESS buffer States { SequenceState states[]; };

// What the rows of logits are sampled for.
Column column_of(uint row) { return columns[p.first_column + row]; }

// Columns of finished sequences are left alone.
bool column_runs(uint row) {
  const Column column = column_of(row);
  return column.is_active != 0 && states[column.sequence].done == kRunning;
}

// At temperature 0 the largest logit survives every filter.
bool is_greedy(uint sequence) { return states[sequence].inverse_temperature == 0.0; }
bool cuts_top_k(uint sequence) {
  const uint k = states[sequence].top_k;
  return !is_greedy(sequence) && k != 0 && k < p.vocab;
}
bool cuts_top_p(uint sequence) {
  return !is_greedy(sequence) && states[sequence].top_p_scaled != kTopPOff;
}

uint chunk_index() { return gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID; }

// Four 16-bit limbs, so that up to 64 invocations add without a carry.
uvec4 limbs_of(U64 value) {
  return uvec4(value.low & 0xffffu, value.low >> 16, value.high & 0xffffu, value.high >> 16);
}
U64 from_limbs(uvec4 limbs) {
  const U64 low = add_u64(make_u64(limbs.x, 0), make_u64(limbs.y << 16, limbs.y >> 16));
  return add_u64(low, make_u64(0, limbs.z + (limbs.w << 16)));
}
U64 subgroup_add_u64(U64 value) { return from_limbs(subgroupAdd(limbs_of(value))); }

// The point that a sum over weights must reach for top_p; at least one token is kept.
U64 top_p_target(uint sequence, U64 total) {
  const U64 target = scale_u64(total, states[sequence].top_p_scaled);
  return target.low == 0 && target.high == 0 ? make_u64(1, 0) : target;
}
