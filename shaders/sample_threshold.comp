#version 450
// Sampling 5 of 7: the exact cut. Tokens are ordered by (order_key, ~id), larger logits first and
// lower ids first among equals; every filter keeps a prefix of that order.
//
//   top-k   the k first
//   top-p   the shortest prefix of those with a weight of at least top_p times theirs
//   min-p   x >= best + log(min_p)
//   greedy  x = best
//
//   columns    Column [n]
//   states     SequenceState [n_sequences]
//   histogram  u32 [n, 3, kSampleBins]
//   list       uvec2 [n, vocab]    tokens of the boundary bins
//   cuts       SampleCut [n]       key and inverse_id are written
//
// The last token of a prefix is found digit by digit, 8 bits of its key and then of its id at a
// time. The list is a few tokens long unless many logits are equal. Loops take 4 or 16 items a
// round: with 262,144 listed tokens, both filters and 4 lanes they come close to what lavapipe
// allows an invocation in all (Caps::max_loop_rounds).
//
// Grid: x = column, one subgroup, so that shared memory needs no barrier() (which costs CPU drivers
// microseconds). Accumulation: 64-bit integers.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "common/sample_column.glsl"

layout(binding = 2, std430) readonly buffer Histogram { uint histogram[]; };
layout(binding = 3, std430) readonly buffer List { uvec2 list[]; };
layout(binding = 4, std430) buffer Cuts { SampleCut cuts[]; };

shared uint digit_counts[256];
shared uint digit_low[256];  // of the weights
shared uint digit_high[256];

// Which part of the list is searched, and for what.
struct Selection {
  uint first;  // of this column's list
  uint end;
  float best;
  float scale;
  uint bin;
  bool weights;  // else every token weighs 1
};

bool at_least(uvec2 a, uvec2 b) { return a.x > b.x || (a.x == b.x && a.y >= b.y); }

bool in_bin(Selection s, uint key) {
  return sample_bin(key_value(key), s.best, s.scale) == s.bin;
}
U64 weight_of_key(Selection s, uint key) {
  return s.weights ? weight_of(key_value(key), s.best) : make_u64(1, 0);
}

// The digits found so far: tokens with (key, ~id) & mask == value are still in question.
struct Prefix {
  uvec2 value;
  uvec2 mask;
};

// Adds entry i to the sums of its next digit, in the key or in the inverse id.
void add_entry(Selection s, Prefix found, uint i, bool in_key, uint shift) {
  if (i >= s.end) return;
  const uvec2 entry = list[i];
  if ((entry & found.mask) != found.value || !in_bin(s, entry.x)) return;
  const uint digit = ((in_key ? entry.x : entry.y) >> shift) & 255u;
  const U64 weight = weight_of_key(s, entry.x);
  atomicAdd(digit_counts[digit], 1);
  const uint before = atomicAdd(digit_low[digit], weight.low);
  const uint high = weight.high + (before + weight.low < before ? 1 : 0);
  if (high != 0) atomicAdd(digit_high[digit], high);
}

// Written out four by four: glslc's optimiser unrolls loops without their NoContraction decorations.
void add_four(Selection s, Prefix found, uint i, bool in_key, uint shift) {
  add_entry(s, found, i, in_key, shift);
  add_entry(s, found, i + gl_SubgroupSize, in_key, shift);
  add_entry(s, found, i + 2 * gl_SubgroupSize, in_key, shift);
  add_entry(s, found, i + 3 * gl_SubgroupSize, in_key, shift);
}

void clear_four(uint first) {
  [[unroll]] for (uint i = first; i < first + 4; ++i) {
    digit_counts[i] = 0;
    digit_low[i] = 0;
    digit_high[i] = 0;
  }
}

void add_entries(Selection s, Prefix found, bool in_key, uint shift) {
  subgroupBarrier();  // the sums of the digit before have been read
  for (uint i = gl_SubgroupInvocationID * 4; i < 256; i += gl_SubgroupSize * 4) clear_four(i);
  subgroupBarrier();
  const uint n = gl_SubgroupSize;
  for (uint i = s.first + gl_SubgroupInvocationID; i < s.end; i += 16 * n) {
    add_four(s, found, i, in_key, shift);
    add_four(s, found, i + 4 * n, in_key, shift);
    add_four(s, found, i + 8 * n, in_key, shift);
    add_four(s, found, i + 12 * n, in_key, shift);
  }
  subgroupBarrier();
}

// Subtracts the weights of larger digits from `target` and returns the digit that reaches it.
uint find_digit(inout U64 target) {
  const uint n = 256 / gl_SubgroupSize;
  const uint first = 255 - gl_SubgroupInvocationID * n;  // the largest digit of this invocation
  U64 own = make_u64(0, 0);
  for (uint round = 0; round < n; round += 4) {
    [[unroll]] for (uint i = round; i < round + 4; ++i) {
      own = add_u64(own, make_u64(digit_low[first - i], digit_high[first - i]));
    }
  }
  U64 sum = from_limbs(subgroupExclusiveAdd(limbs_of(own)));
  uint digit = 0;
  U64 before = make_u64(0, 0);
  if (less_u64(sum, target) && !less_u64(add_u64(sum, own), target)) {
    for (uint i = 0; i < n && less_u64(sum, target); ++i) {
      digit = first - i;
      before = sum;
      sum = add_u64(sum, make_u64(digit_low[digit], digit_high[digit]));
    }
  }
  // One invocation found it; the others add zeros.
  target = subtract_u64(target, subgroup_add_u64(before));
  return subgroupAdd(digit);
}

// The last token of the shortest prefix that weighs at least `target`: not 0, and no more than the
// bin weighs.
uvec2 find_last(Selection s, U64 target) {
  Prefix found;
  found.value = uvec2(0);
  found.mask = uvec2(0);
  for (int digit_index = 0; digit_index < 7; ++digit_index) {  // 4 of the key, 3 of the id
    const bool in_key = digit_index < 4;
    const int shift = (in_key ? 24 : 48) - 8 * digit_index;
    add_entries(s, found, in_key, shift);
    const uint digit = find_digit(target);
    const uvec2 place = in_key ? uvec2(1, 0) : uvec2(0, 1);
    found.value |= place * (digit << shift);
    found.mask |= place * (255u << shift);
    if (digit_index == 3) {
      if (digit_counts[digit] == 1) break;
      // Equal logits: ids decide. Their high bits are the same.
      found.value.y = 0xff000000u;
      found.mask.y = 0xff000000u;
    }
  }
  return found.value;
}

// Entry i's weight if it is in the bin and comes no later than `last`.
U64 weight_through(Selection s, uvec2 last, uint i) {
  if (i >= s.end) return make_u64(0, 0);
  const uvec2 entry = list[i];
  const bool counts = at_least(entry, last) && in_bin(s, entry.x);
  return counts ? weight_of_key(s, entry.x) : make_u64(0, 0);
}

U64 four_weights_through(Selection s, uvec2 last, uint i) {
  const uint n = gl_SubgroupSize;
  const U64 low = add_u64(weight_through(s, last, i), weight_through(s, last, i + n));
  const U64 high = add_u64(weight_through(s, last, i + 2 * n), weight_through(s, last, i + 3 * n));
  return add_u64(low, high);
}

// Weight of the listed tokens of the bin that come no later than `last`.
U64 weights_through(Selection s, uvec2 last) {
  const uint n = gl_SubgroupSize;
  U64 sum = make_u64(0, 0);
  for (uint i = s.first + gl_SubgroupInvocationID; i < s.end; i += 16 * n) {
    sum = add_u64(sum, four_weights_through(s, last, i));
    sum = add_u64(sum, four_weights_through(s, last, i + 4 * n));
    sum = add_u64(sum, four_weights_through(s, last, i + 8 * n));
    sum = add_u64(sum, four_weights_through(s, last, i + 12 * n));
  }
  return subgroup_add_u64(sum);
}

U64 bin_weight(uint column, uint bin) {
  const uint slot = column * kHistogramWords + kSampleBins + bin;
  return make_u64(histogram[slot], histogram[slot + kSampleBins]);
}

// Sets the bin in which top-p ends and returns what must be reached within it.
U64 enter_top_p_bin(inout Selection s, uint column, U64 target) {
  U64 before = make_u64(cuts[column].p_before_low, cuts[column].p_before_high);
  for (s.bin = cuts[column].p_first; s.bin < cuts[column].p_last; ++s.bin) {
    const U64 after = add_u64(before, bin_weight(column, s.bin));
    if (!less_u64(after, target)) break;
    before = after;
  }
  return subtract_u64(target, before);
}

void main() {
  const uint column = gl_WorkGroupID.x;
  if (!column_runs(column)) return;
  const uint sequence = column_of(column).sequence;
  const uint k_rest = cuts[column].k_rest;
  Selection s;
  s.first = column * p.vocab;
  s.end = s.first + cuts[column].n_listed;
  s.best = cuts[column].best;
  s.scale = cuts[column].scale;

  uvec2 last = uvec2(kMinusInfinityKey + 1, 0);  // every candidate
  U64 total = make_u64(cuts[column].k_before_low, cuts[column].k_before_high);
  // A loop, so that the selection is compiled once.
  for (uint filter_index = 0; filter_index < 2; ++filter_index) {
    const bool is_top_k = filter_index == 0;
    if (is_top_k ? k_rest == 0 : cuts[column].p_first > cuts[column].p_last) continue;
    U64 target = make_u64(k_rest, 0);
    s.bin = cuts[column].k_bin;
    s.weights = !is_top_k;
    if (!is_top_k) target = enter_top_p_bin(s, column, top_p_target(sequence, total));
    const uvec2 cut = find_last(s, target);
    if (at_least(cut, last)) last = cut;
    if (is_top_k) {
      s.weights = true;
      total = add_u64(total, weights_through(s, last));
    }
  }
  if (is_greedy(sequence)) {
    const uvec2 cut = uvec2(order_key(s.best), 0);  // spares the other chunks
    if (at_least(cut, last)) last = cut;
  } else if (states[sequence].log_min_p > kMinPOff) {
    precise const float floor_x = s.best + states[sequence].log_min_p;
    const uvec2 cut = uvec2(order_key(canonical(floor_x)), 0);
    if (at_least(cut, last)) last = cut;
  }
  if (subgroupElect()) {
    cuts[column].key = last.x;
    cuts[column].inverse_id = last.y;
  }
}
