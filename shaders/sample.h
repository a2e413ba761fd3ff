// Push constants and scratch layouts of the sample_*.comp shaders.
#ifndef KL_SAMPLE_H
#define KL_SAMPLE_H
#include "common/sampling.h"
KL_STRUCTS_BEGIN
struct SamplePush {
  u32 vocab;
  u32 n_columns;      // whose drafts count for penalties
  u32 first_column;   // the column of the first row of logits
  u32 n_chunks;       // of kSampleChunk tokens, in a row of logits
  u32 n_suppress;
  u32 ring_capacity;  // tokens of one sequence's ring; 0 where nothing is advanced
  u32 agree;          // benchmarks: see agree_hash; 0: drafts are compared
  u32 hidden_stride;  // from one sequence's next state to that of the next
  u32 hidden_first;   // element of the first
};
CHECK_PUSH(SamplePush, 36)

const u32 kSampleColumns = 8;   // at most, in a pass
const u32 kNoDraft = 0xffffffffu;

const u32 kSampleChunk = 1024;  // tokens that one subgroup handles; a multiple of 256
const u32 kSampleBins = 2048;   // of the distance from the largest logit
const u32 kHistogramWords = 3 * kSampleBins;  // counts, low words of weights, high words

// What the filters of one column come to.
struct SampleCut {
  f32 best;   // largest logit; -inf: no candidate
  f32 scale;  // bins per unit of distance from it
  // Survivors are the tokens with (order_key, ~id) >= (key, inverse_id).
  u32 key;
  u32 inverse_id;
  u32 n_listed;       // boundary tokens in the list; counted by sample_gather
  u32 k_bin;          // the bin in which top_k ends
  u32 k_rest;         // tokens to keep of that bin; 0: top_k is off or cuts nothing
  u32 k_before_low;   // weight of the bins before it; of all bins where k_rest is 0
  u32 k_before_high;
  u32 p_first;        // the bins in which top_p can end; p_first > p_last: top_p is off
  u32 p_last;
  u32 p_before_low;   // weight of the bins before p_first
  u32 p_before_high;
};
CHECK_PUSH(SampleCut, 52)

// Bins per unit of distance, so that 1024 to 2048 bins cover the range of the logits. A power of
// two: the bin of a logit is then exact arithmetic.
KL_FUNCTION f32 bin_scale(f32 best, f32 worst) {
  KL_PRECISE const f32 range = best - worst;
  const i32 exponent = i32(floatBitsToUint(range) >> 23) - 127;
  const i32 scale = 10 - exponent;
  return uintBitsToFloat(u32((scale < -100 ? -100 : (scale > 40 ? 40 : scale)) + 127) << 23);
}

// Falls as x rises: a lower bin holds larger logits.
KL_FUNCTION u32 sample_bin(f32 x, f32 best, f32 scale) {
  KL_PRECISE const f32 distance = (best - x) * scale;
  return distance < f32(kSampleBins - 1) ? u32(distance) : kSampleBins - 1;
}

// Benchmarks have no drafter that fits their random weights: with SamplePush::agree a draft is
// taken for right where the hash of its position is below it, whatever was sampled. Wellons 2018,
// "Prospecting for hash functions": lowbias32.
KL_FUNCTION u32 agree_hash(u32 position) {
  u32 x = position + 0x9E3779B9u;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
KL_STRUCTS_END
#endif
