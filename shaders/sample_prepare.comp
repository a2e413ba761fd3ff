#version 450
// Sampling 1 of 7: the logits that the filters see.
//
//   x = canonical(logit), -inf for suppressed ids and those that the mask leaves out
//   x = x * (x > 0 ? 1/repeat : repeat) - count * frequency - presence     where count > 0
//   x = x / temperature                                                    (unless greedy)
//
//   columns    Column [n]
//   states     SequenceState [n_sequences]
//   logits     f32 [n, vocab]
//   counts     u32 [n_sequences, vocab]    how often a token occurs in the sequence
//   suppress   u32 [n_suppress]
//   x          f32 [n, vocab]
//   chunks     uvec2 [n, n_chunks]         largest and smallest candidate's order_key
//   histogram  u32 [n, 3, kSampleBins]     cleared
//   mask       u32 [n, (vocab + 31) / 32]  with kMasked: token t may be drawn where bit t % 32 is set
//
// Drafts count as well: a column sees the tokens of its sequence's columns up to its own position
// that were not emitted yet (positions from SequenceState::position on).
//
// Grid: x = chunks, one for each subgroup; y = column. An invocation rereads only what it wrote.
// Every operation is precise.
// Source: transformers, generation/logits_process.py (processors, then warpers).
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_vote : require
#include "common/sample_column.glsl"

layout(constant_id = 1) const bool kMasked = false;
layout(binding = 2, std430) readonly buffer Logits { float logits[]; };
layout(binding = 3, std430) readonly buffer Counts { uint counts[]; };
layout(binding = 4, std430) readonly buffer Suppress { uint suppress[]; };
layout(binding = 5, std430) buffer X { float x[]; };
layout(binding = 6, std430) writeonly buffer Chunks { uvec2 chunks[]; };
layout(binding = 7, std430) writeonly buffer Histogram { uint histogram[]; };
layout(binding = 8, std430) readonly buffer Mask { uint mask[]; };

bool has_penalties(uint sequence) {
  return states[sequence].repeat != 1.0 || states[sequence].presence != 0.0 ||
         states[sequence].frequency != 0.0;
}

// Occurrences among drafts that this column has seen.
uint draft_count(uint token, uint column, uint sequence) {
  const uint position = column_of(column).position;
  uint n = 0;
  for (uint i = 0; i < p.n_columns; ++i) {
    const Column other = columns[i];
    const bool seen = other.is_active != 0 && other.sequence == sequence &&
                      other.position >= states[sequence].position &&
                      other.position <= position;
    n += seen && other.token == token ? 1 : 0;
  }
  return n;
}

float penalised(float logit, uint count, uint sequence) {
  const float factor =
      logit > 0.0 ? states[sequence].inverse_repeat : states[sequence].repeat;
  precise float value = logit * factor;
  value = value - float(min(count, 0xffffffu)) * states[sequence].frequency;
  value = value - states[sequence].presence;
  return value;
}

// The list, or nothing of it where it has no id of this chunk.
uint n_suppressed_in(uint chunk) {
  bool any = false;
  for (uint i = gl_SubgroupInvocationID; i < p.n_suppress; i += gl_SubgroupSize) {
    any = any || suppress[i] / kSampleChunk == chunk;
  }
  return subgroupAny(any) ? p.n_suppress : 0;
}

bool is_allowed(uint column, uint token) {
  if (!kMasked) return true;
  const uint n_words = (p.vocab + 31) / 32;
  return (mask[column * n_words + token / 32] >> (token % 32) & 1u) != 0;
}

float scaled_logit(float value, uint token, float factor, uint n_suppress) {
  for (uint i = 0; i < n_suppress; ++i) {
    if (suppress[i] == token) value = uintBitsToFloat(kMinusInfinityBits);
  }
  if (order_key(value) <= kMinusInfinityKey) return value;  // no arithmetic on infinity
  precise const float scaled = value * factor;
  return canonical(scaled);
}

void main() {
  const uint column = gl_WorkGroupID.y;
  const uint chunk = chunk_index();
  if (chunk >= p.n_chunks || !column_runs(column)) return;
  const uint sequence = column_of(column).sequence;
  const float factor = is_greedy(sequence) ? 1.0 : states[sequence].inverse_temperature;
  const uint n_suppress = n_suppressed_in(chunk);

  const uint first = chunk * kSampleChunk + gl_SubgroupInvocationID;
  const uint end = min((chunk + 1) * kSampleChunk, p.vocab);
  // Loops of their own: CPU drivers execute both sides of a branch, but leave a loop.
  const uint end_of_penalties = has_penalties(sequence) ? end : 0;
  const uint row = column * p.vocab;
  for (uint token = first; token < end_of_penalties; token += gl_SubgroupSize) {
    float value = canonical(logits[row + token]);
    const uint count = counts[sequence * p.vocab + token] + draft_count(token, column, sequence);
    if (count != 0 && order_key(value) > kMinusInfinityKey) {
      value = penalised(value, count, sequence);
    }
    x[row + token] = value;
  }
  uint largest = kMinusInfinityKey;
  uint smallest = 0xffffffffu;
  for (uint token = first; token < end; token += gl_SubgroupSize) {
    float given = end_of_penalties == 0 ? canonical(logits[row + token]) : x[row + token];
    if (!is_allowed(column, token)) given = uintBitsToFloat(kMinusInfinityBits);
    const float value = scaled_logit(given, token, factor, n_suppress);
    x[row + token] = value;
    const uint key = order_key(value);
    largest = max(largest, key);
    if (key > kMinusInfinityKey) smallest = min(smallest, key);
  }
  largest = subgroupMax(largest);
  smallest = subgroupMin(smallest);
  if (subgroupElect()) chunks[column * p.n_chunks + chunk] = uvec2(largest, smallest);

  for (uint word = chunk * gl_SubgroupSize + gl_SubgroupInvocationID; word < kHistogramWords;
       word += p.n_chunks * gl_SubgroupSize) {
    histogram[column * kHistogramWords + word] = 0;
  }
}
