#version 450
// Attention over the KV cache with a running softmax: decode (split over keys) and prefill.
//
//   y[i, h] = sum_j softmax_j(q[i, h] . k[j]) v[j]   over j <= p and j > p - window, p = position
//   of column i; a drafter's column over j < p alone, which has no key of its own; with sees_ahead
//   also over as many j > p as the column says; scale 1; query head h reads KV head
//   h / (n_heads / n_kv_heads)
//
//   q        f32 [n, n_heads, d]
//   columns  Column [n]
//   k, v     common/kv_cache.glsl; row of position j: sequence * n_rows + j % n_rows
//            WIDE_TABLE: uvec2 [n_sequences, n_segments], addresses of segments of segment_rows rows
//   y        f32 [n, n_heads * d]             without SPLIT
//   y_q      rounded rows of y                where OUTPUTS says so (common/round_rows.glsl)
//   partial  f32 [n, n_heads, n_splits, d]    SPLIT: sums not yet divided
//   state    f32 [n, n_heads, n_splits, 2]    SPLIT: maximum and sum of weights
//   counters u32 [n, n_heads / kTileHeads]    MERGE: splits that have stored theirs
//
// With SPLIT attention_merge.comp makes y of the parts; with MERGE too it is whoever stores the last
// part of a tile. The order of the sum is the same: that of the splits.
//
// Grid: x = tiles of kTileHeads query heads of one KV head, y = split, z = tiles of kTileColumns
// columns (of one sequence when more than one). A tile reads every key once.
//
// Keys go in chunks of 64 at absolute multiples of 64, chunk c to split c % n_splits, so what is
// added to what depends neither on the number of columns nor on the length. A tile belongs to one
// subgroup; with WORKGROUP to a workgroup, whose subgroups take the blocks of a chunk in turn and
// are merged in order. In a block of kBlock keys the lanes are values of the head for the products
// and keys for the softmax. A masked key weighs exactly 0 and its row is not read.
// Accumulation: float32, precise. Source: Milakov & Gimelshein 2018, "Online normalizer calculation
// for softmax"; Dao et al. 2023, "Flash-Decoding".
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "attention.h"
#include "common/columns.h"
#include "common/wide_load.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kLanes = 32;
layout(constant_id = 2) const uint kHeadDim = 256;
layout(constant_id = 3) const uint kKvType = 1;
layout(constant_id = 4) const uint kTileHeads = 2;
layout(constant_id = 5) const uint kTileColumns = 1;
layout(constant_id = 6) const uint kBlock = 16;  // keys of one softmax step; at most kLanes
layout(constant_id = 7) const uint kKeys = 4;    // keys whose loads are in flight together
layout(constant_id = 8) const bool kUnroll = false;  // no loops within a block
layout(constant_id = 9) const bool kHoldQueries = true;  // in registers, else read for every key

#include "common/kv_cache.glsl"

layout(push_constant, std430) uniform Push { AttentionPush p; };
layout(binding = 0, std430) readonly buffer Q { vec4 q_in[]; };
layout(binding = 1, std430) readonly buffer Columns { Column columns[]; };
WIDE_BINDING(2, k)
WIDE_BINDING(3, v)
#ifdef SPLIT
#ifdef MERGE
#define PARTS coherent
#else
#define PARTS writeonly
#endif
layout(binding = 4, std430) PARTS buffer Partial { vec4 partial[]; };
layout(binding = 5, std430) PARTS buffer State { vec2 state[]; };
#else
layout(binding = 4, std430) coherent buffer Y { vec4 y[]; };
layout(binding = 5, std430) writeonly buffer Yq { uint y_q[]; };
#endif
#ifdef MERGE
layout(binding = 6, std430) coherent buffer Counters { uint counters[]; };
layout(binding = 7, std430) writeonly buffer Y { vec4 y[]; };
layout(binding = 8, std430) writeonly buffer Yq { uint y_q[]; };
#ifdef WORKGROUP
#define WORKGROUP_ARRIVALS
#endif
#include "common/attention_merge.glsl"
#include "common/last_arrival.glsl"
#endif
#if defined(MERGE) || !defined(SPLIT)
#define OUTPUTS_CONSTANT 10
#include "common/round_rows.glsl"
#endif

#include "common/attention_tile.glsl"

#ifdef SPLIT
void store_head(uint query, uint head, uint split) {
  const uint at = head * p.n_splits + split;
  if (subgroupElect()) state[at] = vec2(top[query], sum[query]);
  [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
    if (!is_spare()) partial[at * kHeadVecs + lane_vec(i)] = acc[query * kLaneVecs + i];
  }
}
#else
void store_head(uint query, uint head, uint split) {
  const uint first = head * kHeadVecs;
  [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
    precise const vec4 mean = acc[query * kLaneVecs + i] / sum[query];
    if (!is_spare()) y[first + lane_vec(i)] = sum[query] > 0.0 ? mean : vec4(0.0);
  }
}

/// The rows that this subgroup has stored. Lanes held units of the cache's type there; a block has 8
/// neighbours of one vec4 each. Unrolled, the stores are more than llvmpipe compiles in minutes.
void round_heads(uint first_column, uint first_head) {
  subgroupMemoryBarrierBuffer();
  [[dont_unroll]] for (uint query = 0; query < kQueries; ++query) {
    const uint column = first_column + query / kTileHeads;
    const uint head = column * p.n_heads + first_head + query % kTileHeads;
    if (column >= p.n_columns) continue;
    [[dont_unroll]] for (uint i = 0; i < kHeadVecs; i += kLanes) {
      const uint vec = head * kHeadVecs + i + gl_SubgroupInvocationID;
      round_block(vec / 8, vec % 8, y[vec], true);
    }
  }
}
#endif

#ifdef MERGE
/// The heads of a tile, by all the subgroups that it has.
void merge_tile(uint column, uint first_head, uint worker, uint n_workers) {
  const uint n_blocks = (kHeadVecs + kLanes - 1) / kLanes;
  [[dont_unroll]] for (uint i = worker; i < kTileHeads * n_blocks; i += n_workers) {
    const uint head = column * p.n_heads + first_head + i / n_blocks;
    const uint vec = i % n_blocks * kLanes + gl_SubgroupInvocationID;
    const uint first = head * p.n_splits;
    const float peak = find_split_peak(first, p.n_splits);
    const bool exists = vec < kHeadVecs;
    const vec4 value = merge_splits(first, p.n_splits, peak, kHeadVecs, exists ? vec : 0);
    const uint at = head * kHeadVecs + vec;
    if (HAS_FLOATS && exists) y[at] = value;
    if (HAS_CODES) round_block(at / 8, at % 8, value, exists);
  }
}
#endif

#ifdef WORKGROUP
shared vec2 merged_state[kQueries];  // largest score, sum of weights
shared vec4 merged_acc[kQueries * kHeadVecs];

/// Adds what the workers before this one have found.
void take_merged(uint query) {
  const vec2 before = merged_state[query];
  const float peak = max(before.x, top[query]);
  const float own = top[query] > kLowest ? exp(top[query] - peak) : 0.0;
  const float other = before.x > kLowest ? exp(before.x - peak) : 0.0;
  precise const float total = fma(before.y, other, sum[query] * own);
  top[query] = peak;
  sum[query] = total;
  [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
    precise const vec4 scaled = acc[query * kLaneVecs + i] * own;
    const vec4 found = merged_acc[query * kHeadVecs + lane_vec(i)];
    precise const vec4 added = fma(found, vec4(other), scaled);
    acc[query * kLaneVecs + i] = added;
  }
}

/// One worker after the other adds its sums; the last one holds the result.
void merge_workers() {
  for (uint turn = 0; turn < gl_NumSubgroups; ++turn) {
    if (turn == gl_SubgroupID) {
      [[unroll]] for (uint query = 0; query < kQueries; ++query) {
        if (turn > 0) take_merged(query);
        if (subgroupElect()) merged_state[query] = vec2(top[query], sum[query]);
        [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
          if (!is_spare()) {
            merged_acc[query * kHeadVecs + lane_vec(i)] = acc[query * kLaneVecs + i];
          }
        }
      }
    }
    barrier();
  }
}
#endif

void store_heads(uint first_column, uint first_head, uint split) {
  [[unroll]] for (uint query = 0; query < kQueries; ++query) {
    const uint column = first_column + query / kTileHeads;
    const uint head = column * p.n_heads + first_head + query % kTileHeads;
    if (column < p.n_columns) store_head(query, head, split);
  }
}

void main() {
#ifdef WORKGROUP
  const uint tile = gl_WorkGroupID.x;
  const uint worker = gl_SubgroupID, n_workers = gl_NumSubgroups;
#else
  const uint tile = gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID;
  const uint worker = 0, n_workers = 1;
  if (tile * kTileHeads >= p.n_heads) return;
#endif
  const uint split = gl_WorkGroupID.y;
  const uint first_head = tile * kTileHeads;
  const uint first_column = gl_WorkGroupID.z * kTileColumns;
  kv_head = first_head / (p.n_heads / p.n_kv_heads);

  load_columns(first_column);
  load_queries(first_column, first_head);
  add_keys(split, worker, n_workers);
  [[unroll]] for (uint query = 0; query < kQueries; ++query) sum[query] = subgroupAdd(sum[query]);
#ifdef WORKGROUP
  merge_workers();
#endif
#ifdef MERGE
  // A subgroup of a workgroup has more to do than to store.
  if (worker + 1 == n_workers) store_heads(first_column, first_head, split);
  const uint counter = first_column * (p.n_heads / kTileHeads) + tile;
  if (is_last_arrival(counter, p.n_splits)) {
    merge_tile(first_column, first_head, worker, n_workers);
  }
#else
  if (worker + 1 < n_workers) return;
  store_heads(first_column, first_head, split);
#endif
#ifndef SPLIT
  if (HAS_CODES) round_heads(first_column, first_head);
#endif
}
