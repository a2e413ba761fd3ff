// Rows of activations in the form that the next product takes: float32, rounded for an int8 class,
// or both, as the specialisation constant OUTPUTS says.
//
//   y_q  u32 [n_rows, n_blocks, 12]   kBytes, words 0..7: four int8 codes each; 8: bits of d;
//                                     9: sum of q; 10: of its first half
//        u32 [n_rows, n_blocks, 36]   kWords, words 0..31: one code each; 32: d; 33: sum of q
//
// A block has 32 elements: d = max|x| / 127, q = round(x / d); zeros where the inverse of d is not
// finite. Integer sums. Source: ggml's Q8_1 blocks, with d kept in float32.
//
// Includer: declares the buffer y_q of words or defines STORE_WORD(at, word), defines
// OUTPUTS_CONSTANT, and enables GL_KHR_shader_subgroup_shuffle and GL_EXT_control_flow_attributes.
#include "common/outputs.h"

layout(constant_id = OUTPUTS_CONSTANT) const uint OUTPUTS = kFloats;

const bool HAS_FLOATS = (OUTPUTS & kFloats) != 0;
const bool HAS_CODES = (OUTPUTS & (kBytes | kWords)) != 0;
const uint BLOCK_WORDS = (OUTPUTS & kWords) != 0 ? 36 : 12;

#ifndef STORE_WORD
#define STORE_WORD(at, word) y_q[at] = word
#endif

float max4(vec4 v) {
  const vec4 m = abs(v);
  return max(max(m.x, m.y), max(m.z, m.w));
}

int sum4(ivec4 v) { return (v.x + v.y) + (v.z + v.w); }

/// 1 / d, given the largest magnitude of the block.
float inverse_scale(float largest) { return largest > 1e-30 ? 127.0 / largest : 0.0; }

ivec4 round_codes(vec4 v, float inverse) {
  precise const vec4 scaled = v * inverse;
  return clamp(ivec4(roundEven(scaled)), -127, 127);
}

/// The codes of elements 4j .. 4j + 3.
void store_codes(uint block, uint j, ivec4 q) {
  const uint first = block * BLOCK_WORDS;
  if ((OUTPUTS & kWords) != 0) {
    [[unroll]] for (uint i = 0; i < 4; ++i) STORE_WORD(first + 4 * j + i, uint(q[i]));
  } else {
    const uvec4 bytes = uvec4(q) & 0xff;
    STORE_WORD(first + j, bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24));
  }
}

/// `sums`: of the codes of the first half of the block, and of all.
void store_scale(uint block, float largest, ivec2 sums) {
  precise const float d = largest * (1.0 / 127.0);
  const uint at = block * BLOCK_WORDS + BLOCK_WORDS - 4;
  STORE_WORD(at, inverse_scale(largest) == 0.0 ? 0 : floatBitsToUint(d));
  STORE_WORD(at + 1, uint(sums.y));
  if ((OUTPUTS & kBytes) != 0) STORE_WORD(at + 2, uint(sums.x));
}

/// A block that 8 neighbouring lanes hold, all of them active: `mine` are elements 4j .. 4j + 3 of
/// lane j. Lanes without `exists` store nothing.
void round_block(uint block, uint j, vec4 mine, bool exists) {
  float largest = max4(mine);
  [[unroll]] for (uint step = 1; step < 8; step *= 2) {
    largest = max(largest, subgroupShuffleXor(largest, step));
  }
  const ivec4 q = round_codes(mine, inverse_scale(largest));
  int half_sum = sum4(q);
  [[unroll]] for (uint step = 1; step < 4; step *= 2) {
    half_sum += subgroupShuffleXor(half_sum, step);
  }
  const int sum = half_sum + subgroupShuffleXor(half_sum, 4);
  if (!exists) return;
  store_codes(block, j, q);
  if (j == 0) store_scale(block, largest, ivec2(half_sum, sum));
}
