#version 450
// Activations to int8 per block of 32: d = max|x| / 127, q = round(x / d).
//
//   x    f32 [n_rows, 32 n_blocks]
//   x_q  u32 [n_rows, n_blocks, 12]   words 0..7: four int8 codes each; 8: bits of d; 9: sum of q
//        u32 [n_rows, n_blocks, 36]   with WORDS, words 0..31: one code each; 32: d; 33: sum of q
//
// Grid: invocations in x, 8 for each block, rows one after another; one has four elements. With
// SPREAD (subgroups of 8 or more) the 8 exchange their maxima, else each reads the whole block.
// Integer sums; a block of zeros has d = 0. Source: ggml's Q8_1 blocks, with d kept in float32.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "quant_act.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool SPREAD = false;
layout(push_constant, std430) uniform Push { QuantActPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) writeonly buffer Xq { uint x_q[]; };

#ifdef WORDS
const uint BLOCK_WORDS = 36;
#else
const uint BLOCK_WORDS = 12;
#endif

float max4(vec4 v) {
  const vec4 m = abs(v);
  return max(max(m.x, m.y), max(m.z, m.w));
}

int sum4(ivec4 v) { return (v.x + v.y) + (v.z + v.w); }

ivec4 codes_of(vec4 v, float inverse) {
  precise const vec4 scaled = v * inverse;
  return clamp(ivec4(roundEven(scaled)), -127, 127);
}

float block_max(uint block, vec4 mine) {
  float largest = max4(mine);
  if (SPREAD) {
    [[unroll]] for (uint step = 1; step < 8; step *= 2) {
      largest = max(largest, subgroupShuffleXor(largest, step));
    }
    return largest;
  }
  [[unroll]] for (uint j = 0; j < 8; ++j) largest = max(largest, max4(x[block * 8 + j]));
  return largest;
}

int block_sum(uint block, ivec4 mine, float inverse) {
  int sum = sum4(mine);
  if (SPREAD) {
    [[unroll]] for (uint step = 1; step < 8; step *= 2) sum += subgroupShuffleXor(sum, step);
    return sum;
  }
  sum = 0;
  [[unroll]] for (uint j = 0; j < 8; ++j) sum += sum4(codes_of(x[block * 8 + j], inverse));
  return sum;
}

void main() {
  const uint n_blocks = p.n_blocks * p.n_rows;
  const uint wanted = gl_GlobalInvocationID.x / 8;
  const uint block = min(wanted, n_blocks - 1);
  const uint j = gl_GlobalInvocationID.x % 8;
  const vec4 mine = x[block * 8 + j];
  const float largest = block_max(block, mine);
  precise const float d = largest * (1.0 / 127.0);
  const float inverse = largest > 1e-30 ? 127.0 / largest : 0.0;
  const ivec4 q = codes_of(mine, inverse);
  const int sum = block_sum(block, q, inverse);
  if (wanted < n_blocks) {
    const uint first = block * BLOCK_WORDS;
#ifdef WORDS
    [[unroll]] for (uint i = 0; i < 4; ++i) x_q[first + 4 * j + i] = uint(q[i]);
    const uint scale_at = first + 32;
#else
    const uvec4 bytes = uvec4(q) & 0xff;
    x_q[first + j] = bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24);
    const uint scale_at = first + 8;
#endif
    if (j == 0) {
      x_q[scale_at] = inverse == 0.0 ? 0 : floatBitsToUint(d);
      x_q[scale_at + 1] = uint(sum);
    }
  }
}
