#version 450
// Sampling 4 of 7: lists the tokens of the bins in which top-k and top-p end.
//
//   columns  Column [n]
//   states   SequenceState [n_sequences]
//   cuts     SampleCut [n]          n_listed counts up from 0
//   chunks   uvec2 [n, n_chunks]
//   x        f32 [n, vocab]
//   list     uvec2 [n, vocab]       (order_key, ~id), in any order
//
// Grid: x = chunks, one for each subgroup; y = column.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common/sample_column.glsl"

layout(binding = 2, std430) buffer Cuts { SampleCut cuts[]; };
layout(binding = 3, std430) readonly buffer Chunks { uvec2 chunks[]; };
layout(binding = 4, std430) readonly buffer X { float x[]; };
layout(binding = 5, std430) writeonly buffer List { uvec2 list[]; };

struct Boundary {
  float best;
  float scale;
  uint k_bin;  // kSampleBins: top-k cuts nothing
  uint p_first;
  uint p_last;
};

bool is_listed(uint key, Boundary b) {
  if (key <= kMinusInfinityKey) return false;
  const uint bin = sample_bin(key_value(key), b.best, b.scale);
  return bin == b.k_bin || (bin >= b.p_first && bin <= b.p_last);
}

void main() {
  const uint column = gl_WorkGroupID.y;
  const uint chunk = chunk_index();
  if (chunk >= p.n_chunks || !column_runs(column)) return;
  Boundary b;
  b.best = cuts[column].best;
  b.scale = cuts[column].scale;
  b.k_bin = cuts[column].k_rest != 0 ? cuts[column].k_bin : kSampleBins;
  b.p_first = cuts[column].p_first;
  b.p_last = cuts[column].p_last;
  if (b.k_bin == kSampleBins && b.p_first > b.p_last) return;

  // Nothing of this chunk lies before its largest logit's bin.
  const uint largest = chunks[column * p.n_chunks + chunk].x;
  if (largest <= kMinusInfinityKey) return;
  const uint last_bin = max(b.k_bin == kSampleBins ? 0 : b.k_bin, b.p_last);
  if (sample_bin(key_value(largest), b.best, b.scale) > last_bin) return;

  const uint end = min((chunk + 1) * kSampleChunk, p.vocab);
  for (uint first = chunk * kSampleChunk; first < end; first += gl_SubgroupSize) {
    const uint token = first + gl_SubgroupInvocationID;
    uint key = 0;
    if (token < end) key = order_key(x[column * p.vocab + token]);
    const bool listed = is_listed(key, b);
    const uvec4 ballot = subgroupBallot(listed);
    const uint n = subgroupBallotBitCount(ballot);
    if (n == 0) continue;
    uint slot = 0;
    if (subgroupElect()) slot = atomicAdd(cuts[column].n_listed, n);
    slot = subgroupBroadcastFirst(slot) + subgroupBallotExclusiveBitCount(ballot);
    if (listed) list[column * p.vocab + slot] = uvec2(key, ~token);
  }
}
