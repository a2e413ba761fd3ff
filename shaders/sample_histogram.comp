#version 450
// Sampling 2 of 7, where top-k or top-p cuts: how many candidates, and of which weight, lie at which
// distance from the largest logit.
//
//   columns    Column [n]
//   states     SequenceState [n_sequences]
//   chunks     uvec2 [n, n_chunks]       largest and smallest candidate's order_key
//   x          f32 [n, vocab]
//   histogram  u32 [n, 3, kSampleBins]   counts, low and high words of the weights
//
// Any binning that falls with the logit serves: sample_threshold orders what is in the boundary
// bins exactly. With top-k, tokens that are certainly cut stay out: if the maxima of k chunks lie in
// the bins up to b, so do k tokens.
//
// Grid: x = chunks, one for each subgroup; y = column. Accumulation: integers, by atomic additions
// whose order cannot matter.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "common/sample_column.glsl"
#include "common/sample_range.glsl"

layout(binding = 3, std430) readonly buffer X { float x[]; };
layout(binding = 4, std430) buffer Histogram { uint histogram[]; };

// Chunks whose largest logit is in one of the bins up to `bin`.
uint n_chunks_up_to(uint bin, uint column, LogitRange range) {
  uint n = 0;
  for (uint i = gl_SubgroupInvocationID; i < p.n_chunks; i += gl_SubgroupSize) {
    const uint key = chunks[column * p.n_chunks + i].x;
    const bool candidate = key > kMinusInfinityKey;
    n += candidate && sample_bin(key_value(key), range.best, range.scale) <= bin ? 1 : 0;
  }
  return subgroupAdd(n);
}

// The smallest bin that is known to hold the k-th candidate or come after it.
uint last_useful_bin(uint column, uint sequence, LogitRange range) {
  const uint k = states[sequence].top_k;
  if (!cuts_top_k(sequence) || k > p.n_chunks) return kSampleBins - 1;
  uint bin = 0;
  for (uint step = kSampleBins / 2; step != 0; step /= 2) {
    if (n_chunks_up_to(bin + step - 1, column, range) < k) bin += step;
  }
  return bin;
}

void add_weight(uint slot, U64 weight) {
  if (weight.low == 0 && weight.high == 0) return;
  const uint before = atomicAdd(histogram[slot + kSampleBins], weight.low);
  const uint carry = before + weight.low < before ? 1 : 0;
  if (weight.high + carry != 0) atomicAdd(histogram[slot + 2 * kSampleBins], weight.high + carry);
}

void main() {
  const uint column = gl_WorkGroupID.y;
  const uint chunk = chunk_index();
  if (chunk >= p.n_chunks || !column_runs(column)) return;
  const uint sequence = column_of(column).sequence;
  const bool weights = cuts_top_p(sequence);
  if (!weights && !cuts_top_k(sequence)) return;
  const LogitRange range = find_range(column);
  if (range.best_key <= kMinusInfinityKey) return;
  const uint last_bin = last_useful_bin(column, sequence, range);

  const uint best_key = chunks[column * p.n_chunks + chunk].x;
  if (best_key <= kMinusInfinityKey) return;
  if (sample_bin(key_value(best_key), range.best, range.scale) > last_bin) return;

  const uint first_slot = column * kHistogramWords;
  const uint last = min((chunk + 1) * kSampleChunk, p.vocab);
  uint far_count = 0;  // the last bin gathers the far tail: added up here to spare its atomics
  U64 far_weight = make_u64(0, 0);
  for (uint token = chunk * kSampleChunk + gl_SubgroupInvocationID; token < last;
       token += gl_SubgroupSize) {
    const float value = x[column * p.vocab + token];
    if (order_key(value) <= kMinusInfinityKey) continue;
    const uint bin = sample_bin(value, range.best, range.scale);
    if (bin > last_bin) continue;
    const U64 weight = weights ? weight_of(value, range.best) : make_u64(0, 0);
    if (bin == kSampleBins - 1) {
      far_count += 1;
      far_weight = add_u64(far_weight, weight);
    } else {
      atomicAdd(histogram[first_slot + bin], 1);
      add_weight(first_slot + bin, weight);
    }
  }
  far_count = subgroupAdd(far_count);
  far_weight = subgroup_add_u64(far_weight);
  if (subgroupElect() && far_count != 0) {
    atomicAdd(histogram[first_slot + kSampleBins - 1], far_count);
    add_weight(first_slot + kSampleBins - 1, far_weight);
  }
}
