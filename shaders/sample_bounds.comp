#version 450
// Sampling 3 of 7: the bins in which top-k and top-p end.
//
//   columns    Column [n]
//   states     SequenceState [n_sequences]
//   chunks     uvec2 [n, n_chunks]
//   histogram  u32 [n, 3, kSampleBins]
//   cuts       SampleCut [n]
//
// top-k ends in the first bin up to which k candidates lie. The weight W of what top-k keeps is then
// known up to that bin's share, and so is the place where the sum reaches top_p * W: between
// p_first and p_last, nearly always one bin.
//
// Grid: x = column, one subgroup. Each invocation owns a range of bins. Accumulation: 64-bit
// integers.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "common/sample_column.glsl"
#include "common/sample_range.glsl"

layout(binding = 3, std430) readonly buffer Histogram { uint histogram[]; };
layout(binding = 4, std430) writeonly buffer Cuts { SampleCut cuts[]; };

U64 bin_count(uint column, uint bin) {
  return make_u64(histogram[column * kHistogramWords + bin], 0);
}
U64 bin_weight(uint column, uint bin) {
  const uint slot = column * kHistogramWords + kSampleBins + bin;
  return make_u64(histogram[slot], histogram[slot + kSampleBins]);
}

struct Crossing {
  uint bin;    // the first one up to which the sum reaches the target
  U64 before;  // sum of the bins before it
  U64 after;   // sum with it
};

// Sums counts or weights over the bins in order. `target` is at least 1 and at most the total.
Crossing find_crossing(uint column, bool weights, U64 target) {
  const uint n = kSampleBins / gl_SubgroupSize;
  const uint first = gl_SubgroupInvocationID * n;
  U64 own = make_u64(0, 0);
  for (uint i = 0; i < n; ++i) {
    own = add_u64(own, weights ? bin_weight(column, first + i) : bin_count(column, first + i));
  }
  U64 sum = from_limbs(subgroupExclusiveAdd(limbs_of(own)));

  uint found_bin = 0;
  U64 before = make_u64(0, 0);
  U64 after = make_u64(0, 0);
  if (less_u64(sum, target) && !less_u64(add_u64(sum, own), target)) {
    for (uint i = 0; i < n && less_u64(sum, target); ++i) {
      found_bin = first + i;
      before = sum;
      sum = add_u64(sum, weights ? bin_weight(column, found_bin) : bin_count(column, found_bin));
    }
    after = sum;
  }
  // One invocation found it; the others add zeros.
  Crossing crossing;
  crossing.bin = subgroupAdd(found_bin);
  crossing.before = subgroup_add_u64(before);
  crossing.after = subgroup_add_u64(after);
  return crossing;
}

// Weight of the bins before `end`.
U64 weight_before(uint column, uint end) {
  U64 sum = make_u64(0, 0);
  for (uint bin = gl_SubgroupInvocationID; bin < end; bin += gl_SubgroupSize) {
    sum = add_u64(sum, bin_weight(column, bin));
  }
  return subgroup_add_u64(sum);
}

// Candidates in the histogram: at least top_k of them, unless there are fewer.
uint n_counted(uint column) {
  uint n = 0;
  for (uint bin = gl_SubgroupInvocationID; bin < kSampleBins; bin += gl_SubgroupSize) {
    n += histogram[column * kHistogramWords + bin];
  }
  return subgroupAdd(n);
}

void main() {
  const uint column = gl_WorkGroupID.x;
  if (!column_runs(column)) return;
  const uint sequence = column_of(column).sequence;
  const LogitRange range = find_range(column);
  SampleCut cut;
  cut.best = range.best;
  cut.scale = range.scale;
  cut.key = 0;
  cut.inverse_id = 0;
  cut.n_listed = 0;
  cut.k_bin = kSampleBins - 1;
  cut.k_rest = 0;
  cut.p_first = 1;
  cut.p_last = 0;

  const bool any = range.best_key > kMinusInfinityKey;
  uint end = kSampleBins;  // of the bins that top-k keeps for certain
  if (any && cuts_top_k(sequence) && n_counted(column) >= states[sequence].top_k) {
    const U64 k = make_u64(states[sequence].top_k, 0);
    const Crossing crossing = find_crossing(column, false, k);
    cut.k_bin = crossing.bin;
    cut.k_rest = k.low - crossing.before.low;
    end = crossing.bin;
  }
  U64 k_before = make_u64(0, 0);
  U64 p_before = make_u64(0, 0);
  if (any && cuts_top_p(sequence)) {
    k_before = weight_before(column, end);
    const Crossing first =
        find_crossing(column, true, top_p_target(sequence, k_before));
    const U64 most = cut.k_rest == 0 ? k_before : add_u64(k_before, bin_weight(column, end));
    const Crossing last = find_crossing(column, true, top_p_target(sequence, most));
    cut.p_first = first.bin;
    cut.p_last = last.bin;
    p_before = first.before;
  }
  cut.k_before_low = k_before.low;
  cut.k_before_high = k_before.high;
  cut.p_before_low = p_before.low;
  cut.p_before_high = p_before.high;
  if (subgroupElect()) cuts[column] = cut;
}
