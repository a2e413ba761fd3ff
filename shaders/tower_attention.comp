#version 450
// Attention of patches that all see each other, with a running softmax.
//
//   y[i, h] = sum_j softmax_j(q[i, h] . k[j, h]) v[j, h]   over j < n_keys; scale 1
//
//   q, y  f32 [n_queries, n_heads, d]   d a multiple of 4 up to 128
//   k, v  f32 [>= n_keys, n_heads, d]
//
// Grid: x = tiles of kQueries queries for each invocation of a workgroup, y = head. Keys come in
// blocks of kBlock, the same for all invocations: their values are loaded once, spread over the
// lanes of a subgroup, and go round by shuffle, which costs as much as several products on llvmpipe:
// so an invocation there has more than one query. With WORKGROUP keys lie in shared memory, kShared
// at a time. Accumulation: float32, precise, keys in their order. Source:
// Milakov & Gimelshein 2018, "Online normalizer calculation for softmax"; transformers
// `Gemma4VisionAttention`.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_vote : require

#include "tower_attention.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kLanes = 32;
layout(constant_id = 2) const uint kHeadDim = 64;
layout(constant_id = 3) const uint kBlock = 4;  // keys of one softmax step
layout(constant_id = 4) const uint kQueries = 1;
layout(constant_id = 5) const uint kShared = 32;  // a multiple of kBlock
layout(push_constant, std430) uniform Push { TowerAttentionPush p; };
layout(binding = 0, std430) readonly buffer Q { vec4 q_in[]; };
layout(binding = 1, std430) readonly buffer K { vec4 k_in[]; };
layout(binding = 2, std430) readonly buffer V { vec4 v_in[]; };
layout(binding = 3, std430) writeonly buffer Y { vec4 y[]; };

const uint kVecs = kHeadDim / 4;
const uint kBlockVecs = kBlock * kVecs;
const uint kHeld = (kBlockVecs + kLanes - 1) / kLanes;  // vec4 of a block in a lane
const float kLowest = -3.402823466e38;  // below every score; no infinities, so no NaN

vec4 q[kQueries * kVecs];
vec4 acc[kQueries * kVecs];
float top[kQueries];
float sum[kQueries];
float weight[kQueries * kBlock];  // score, then exp(score - top)

/// Where value `index` of a run of keys is; keys behind the last stand for it.
uint key_vec(uint first_key, uint index) {
  const uint key = min(first_key + index / kVecs, p.n_keys - 1);
  return (key * p.n_heads + gl_WorkGroupID.y) * kVecs + index % kVecs;
}

#ifdef WORKGROUP
shared vec4 shared_k[kShared * kVecs];
shared vec4 shared_v[kShared * kVecs];
uint shared_first;

void load_shared(uint first_key) {
  barrier();  // the keys before have been read
  for (uint i = gl_LocalInvocationIndex; i < kShared * kVecs; i += gl_WorkGroupSize.x) {
    shared_k[i] = k_in[key_vec(first_key, i)];
    shared_v[i] = v_in[key_vec(first_key, i)];
  }
  shared_first = first_key;
  barrier();
}
#define LOAD_BLOCK(name, first_key) const uint name##_at = (first_key - shared_first) * kVecs;
#define BLOCK_VEC(name, index) shared_##name[name##_at + (index)]
#else
#define LOAD_BLOCK(name, first_key)                                                        \
  vec4 name##_held[kHeld];                                                                 \
  [[unroll]] for (uint i = 0; i < kHeld; ++i) {                                            \
    name##_held[i] = name##_in[key_vec(first_key, i * kLanes + gl_SubgroupInvocationID)];  \
  }
#define BLOCK_VEC(name, index) subgroupShuffle(name##_held[(index) / kLanes], (index) % kLanes)
#endif

void score_block(uint first_key) {
  LOAD_BLOCK(k, first_key)
  [[unroll]] for (uint key = 0; key < kBlock; ++key) {
    precise float products[kQueries];
    [[unroll]] for (uint n = 0; n < kQueries; ++n) products[n] = 0.0;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      const vec4 value = BLOCK_VEC(k, key * kVecs + i);
      [[unroll]] for (uint n = 0; n < kQueries; ++n) {
        const vec4 own = q[n * kVecs + i];
        products[n] = fma(own.x, value.x, products[n]);
        products[n] = fma(own.y, value.y, products[n]);
        products[n] = fma(own.z, value.z, products[n]);
        products[n] = fma(own.w, value.w, products[n]);
      }
    }
    [[unroll]] for (uint n = 0; n < kQueries; ++n) {
      weight[n * kBlock + key] = first_key + key < p.n_keys ? products[n] : kLowest;
    }
  }
}

/// One step of the running softmax: scores become weights, older sums are rescaled. The selections
/// matter where a driver's exp(0) is not exactly 1.
void weigh_block(uint first_key, uint n) {
  float peak = top[n];
  [[unroll]] for (uint key = 0; key < kBlock; ++key) peak = max(peak, weight[n * kBlock + key]);
  if (subgroupAny(peak > top[n])) {
    const float scale = peak > top[n] ? (top[n] > kLowest ? exp(top[n] - peak) : 0.0) : 1.0;
    precise const float scaled = sum[n] * scale;
    sum[n] = scaled;
    top[n] = peak;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      precise const vec4 scaled_acc = acc[n * kVecs + i] * scale;
      acc[n * kVecs + i] = scaled_acc;
    }
  }
  [[unroll]] for (uint key = 0; key < kBlock; ++key) {
    const bool is_key = first_key + key < p.n_keys;
    weight[n * kBlock + key] = is_key ? exp(weight[n * kBlock + key] - top[n]) : 0.0;
    precise const float total = sum[n] + weight[n * kBlock + key];
    sum[n] = total;
  }
}

void add_block(uint first_key) {
  score_block(first_key);
  [[unroll]] for (uint n = 0; n < kQueries; ++n) weigh_block(first_key, n);
  LOAD_BLOCK(v, first_key)
  [[unroll]] for (uint key = 0; key < kBlock; ++key) {
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      const vec4 value = BLOCK_VEC(v, key * kVecs + i);
      [[unroll]] for (uint n = 0; n < kQueries; ++n) {
        precise const vec4 added = fma(vec4(weight[n * kBlock + key]), value, acc[n * kVecs + i]);
        acc[n * kVecs + i] = added;
      }
    }
  }
}

/// The first value of query n of this invocation; those behind the last repeat it.
uint query_vec(uint query) {
  return (min(query, p.n_queries - 1) * p.n_heads + gl_WorkGroupID.y) * kVecs;
}

void main() {
  const uint own = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
  const uint first = gl_WorkGroupID.x * gl_WorkGroupSize.x * kQueries + own;
  [[unroll]] for (uint n = 0; n < kQueries; ++n) {
    const uint at = query_vec(first + n * gl_WorkGroupSize.x);
    top[n] = kLowest;
    sum[n] = 0.0;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      q[n * kVecs + i] = q_in[at + i];
      acc[n * kVecs + i] = vec4(0.0);
    }
  }
#ifdef WORKGROUP
  for (uint run = 0; run < p.n_keys; run += kShared) {
    load_shared(run);
    const uint end = min(run + kShared, p.n_keys);
    for (uint key = run; key < end; key += kBlock) add_block(key);
  }
#else
  for (uint key = 0; key < p.n_keys; key += kBlock) add_block(key);
#endif
  [[unroll]] for (uint n = 0; n < kQueries; ++n) {
    const uint query = first + n * gl_WorkGroupSize.x;
    const uint at = query_vec(query);
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      precise const vec4 mean = acc[n * kVecs + i] / sum[n];
      if (query < p.n_queries) y[at + i] = mean;
    }
  }
}
