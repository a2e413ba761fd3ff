#version 450
// Attention of patches that all see each other, with a running softmax.
//
//   y[i, h] = sum_j softmax_j(q[i, h] . k[j, h]) v[j, h]   over j < n_keys; scale 1
//
//   q, y  f32 [n_queries, n_heads, d]   d a multiple of 4 up to 128
//   k, v  f32 [>= n_keys, n_heads, d]
//
// Grid: x = tiles of as many queries as a workgroup has invocations, y = head. An invocation has one
// query. Keys come in blocks of kBlock, the same for all invocations: their values are loaded once,
// spread over the lanes of a subgroup, and go round by shuffle; with WORKGROUP they lie in shared
// memory, kShared keys at a time. Accumulation: float32, precise, keys in their order. Source:
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
layout(constant_id = 3) const uint kBlock = 4;    // keys of one softmax step
layout(constant_id = 4) const uint kShared = 32;  // a multiple of kBlock
layout(push_constant, std430) uniform Push { TowerAttentionPush p; };
layout(binding = 0, std430) readonly buffer Q { vec4 q_in[]; };
layout(binding = 1, std430) readonly buffer K { vec4 k_in[]; };
layout(binding = 2, std430) readonly buffer V { vec4 v_in[]; };
layout(binding = 3, std430) writeonly buffer Y { vec4 y[]; };

const uint kVecs = kHeadDim / 4;
const uint kBlockVecs = kBlock * kVecs;
const uint kHeld = (kBlockVecs + kLanes - 1) / kLanes;  // vec4 of a block in a lane
const float kLowest = -3.402823466e38;  // below every score; no infinities, so no NaN

vec4 q[kVecs];
vec4 acc[kVecs];
float top = kLowest;
float sum = 0.0;

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

void add_block(uint first_key) {
  precise float score[kBlock];
  LOAD_BLOCK(k, first_key)
  float peak = top;
  [[unroll]] for (uint key = 0; key < kBlock; ++key) {
    precise float dot_product = 0.0;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      const vec4 value = BLOCK_VEC(k, key * kVecs + i);
      dot_product = fma(q[i].x, value.x, dot_product);
      dot_product = fma(q[i].y, value.y, dot_product);
      dot_product = fma(q[i].z, value.z, dot_product);
      dot_product = fma(q[i].w, value.w, dot_product);
    }
    score[key] = first_key + key < p.n_keys ? dot_product : kLowest;
    peak = max(peak, score[key]);
  }
  if (subgroupAny(peak > top)) {
    // The selections matter where a driver's exp(0) is not exactly 1.
    const float scale = peak > top ? (top > kLowest ? exp(top - peak) : 0.0) : 1.0;
    precise const float scaled = sum * scale;
    sum = scaled;
    top = peak;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      precise const vec4 scaled_acc = acc[i] * scale;
      acc[i] = scaled_acc;
    }
  }
  LOAD_BLOCK(v, first_key)
  [[unroll]] for (uint key = 0; key < kBlock; ++key) {
    const float weight = first_key + key < p.n_keys ? exp(score[key] - top) : 0.0;
    precise const float total = sum + weight;
    sum = total;
    [[unroll]] for (uint i = 0; i < kVecs; ++i) {
      precise const vec4 added = fma(vec4(weight), BLOCK_VEC(v, key * kVecs + i), acc[i]);
      acc[i] = added;
    }
  }
}

void main() {
  const uint own = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
  const uint query = gl_WorkGroupID.x * gl_WorkGroupSize.x + own;
  const uint first = (min(query, p.n_queries - 1) * p.n_heads + gl_WorkGroupID.y) * kVecs;
  [[unroll]] for (uint i = 0; i < kVecs; ++i) {
    q[i] = q_in[first + i];
    acc[i] = vec4(0.0);
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
  if (query >= p.n_queries) return;
  [[unroll]] for (uint i = 0; i < kVecs; ++i) {
    precise const vec4 mean = acc[i] / sum;
    y[first + i] = mean;
  }
}
