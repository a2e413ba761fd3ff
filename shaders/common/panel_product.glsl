// add_step(step): adds one step over K of the float32 product to acc, for each weight type (one of
// the TYPE_ macros). A step is a block of 32 elements, or a superblock of 256 for the K-quants; for
// that of TYPE_CODED, thirteen formats in one module, see coded.h. Layouts:
// src/kernels/packed_matrix.hpp.
#if defined(TYPE_F32) || defined(TYPE_F16) || defined(TYPE_BF16)
#elif defined(TYPE_Q6_K)
#define SUM_WIDTH 4
#elif defined(TYPE_CODED)
#define FORMAT_CONSTANT 7
#include "common/coded.glsl"
#define SUM_WIDTH (coded_has_small_groups(FORMAT) ? 4 : 8)
#else
#define SUM_WIDTH 8
#endif
#ifdef TYPE_Q4_K
#include "common/q4_k_scales.glsl"
#endif
#include "common/panel_x.glsl"

float acc[MAX_TILE];  // [g][c]
#if defined(TYPE_F32) || defined(TYPE_F16) || defined(TYPE_BF16)
#define part acc  // no scale: products go straight to the sum
#else
float part[MAX_TILE];  // of the block, before its scale
#endif

// part += w * x(j) for one row.
void add_products(uint g, vec4 w, uint c, vec4 xv) {
  const uint i = g * COLUMNS + c;
  precise float sum = part[i];
  sum = fma(w.x, xv.x, sum);
  sum = fma(w.y, xv.y, sum);
  sum = fma(w.z, xv.z, sum);
  sum = fma(w.w, xv.w, sum);
  part[i] = sum;
}

// acc += scale * part. Codes are stored with a bias, which the weights are free of already; where
// unpacking is what costs (MASK_ONLY), it is taken from the sum instead, once for each column.
void add_scaled(uint g, uint c, float scale, float bias) {
#ifdef SUM_WIDTH
  const uint i = g * COLUMNS + c;
  precise const float unbiased = MASK_ONLY ? fma(-bias, x_sum[c], part[i]) : part[i];
  precise const float sum = fma(scale, unbiased, acc[i]);
  acc[i] = sum;
#endif
}

void clear_part() {
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) part[i] = 0.0;
}

vec4 without_bias(vec4 codes, float bias) {
  precise const vec4 values = codes - bias;
  return values;
}

vec4 unpack_bytes(uint v) {
  return vec4(float(v & 0xff), float((v >> 8) & 0xff), float((v >> 16) & 0xff), float(v >> 24));
}

#if defined(TYPE_Q4_0) || defined(TYPE_Q4_K)
// A unit is 32 nibbles: low ones of word j are elements 4j.., high ones 16 + 4j...
#define UNITS 1
#ifdef TYPE_Q4_0
#define CODE_BIAS 8.0
#else
#define CODE_BIAS 0.0
#endif
vec4 field_scale(uint j) {
  return j < 4 ? 1.0 / vec4(1.0, 256.0, 65536.0, 16777216.0)
               : 1.0 / vec4(16.0, 4096.0, 1048576.0, 1.0);
}
vec4 weights(uvec4 unit, uint j) {
  const uint v = unit[j & 3];
  if (!MASK_ONLY) return without_bias(unpack_bytes((j < 4 ? v : v >> 4) & 0x0f0f0f0f), CODE_BIAS);
  if (j < 4) return vec4(ivec4(v & 0xf, v & 0xf00, v & 0xf0000, v & 0xf000000));
  return vec4(ivec4(v & 0xf0, v & 0xf000, v & 0xf00000, v >> 28));
}
#elif defined(TYPE_Q8_0)
// Two units of 16 bytes, each code + 128.
#define UNITS 2
#define CODE_BIAS 128.0
vec4 field_scale(uint j) { return 1.0 / vec4(1.0, 256.0, 65536.0, 1.0); }
vec4 weights(uvec4 unit, uint j) {
  const uint v = unit[j & 3];
  if (!MASK_ONLY) return without_bias(unpack_bytes(v), CODE_BIAS);
  return vec4(ivec4(v & 0xff, v & 0xff00, v & 0xff0000, v >> 24));
}
#elif !defined(TYPE_Q6_K) && !defined(TYPE_CODED)
vec4 field_scale(uint j) { return vec4(1.0); }
#endif

#if defined(TYPE_F32)
#define UNITS 8
vec4 weights(uvec4 unit, uint j) { return uintBitsToFloat(unit); }
#elif defined(TYPE_F16)
#define UNITS 4
vec4 weights(uvec4 unit, uint j) {
  const uint i = 2 * (j & 1);
  return vec4(unpackHalf2x16(unit[i]), unpackHalf2x16(unit[i + 1]));
}
#elif defined(TYPE_BF16)
#define UNITS 4
vec4 weights(uvec4 unit, uint j) {
  const uint i = 2 * (j & 1);
  return uintBitsToFloat(uvec4(unit[i] << 16, unit[i] & 0xffff0000, unit[i + 1] << 16,
                               unit[i + 1] & 0xffff0000));
}
#endif

#if !defined(TYPE_Q6_K) && !defined(TYPE_CODED)
// part += the products of a block of 32: UNITS units a row from unit `first` of codes on.
void add_block(uint first, uint block) {
  begin_block(block);
  begin_group(0);
  [[unroll]] for (uint u = 0; u < UNITS; ++u) {
    uvec4 unit[ROWS];
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      unit[g] = LOAD_WIDE(codes, first + u * 64 + row_of(g));
    }
    [[unroll]] for (uint jj = 0; jj < 8 / UNITS; ++jj) {
      const uint j = u * (8 / UNITS) + jj;
      vec4 xs[COLUMNS];
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) xs[c] = x_of(c, j);
      [[unroll]] for (uint g = 0; g < ROWS; ++g) {
        const vec4 w = weights(unit[g], j);
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_products(g, w, c, xs[c]);
      }
    }
  }
}
#endif

#if defined(TYPE_F32) || defined(TYPE_F16) || defined(TYPE_BF16)
void add_step(uint step) {
  add_block((first_step + step) * UNITS * 64, step);
}
#endif

#if defined(TYPE_Q4_0) || defined(TYPE_Q8_0)
void add_step(uint step) {
  const uint at = first_step + step;
  clear_part();
  add_block(at * UNITS * 64, step);
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    const float d = scale_half(at * 8, g);
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_scaled(g, c, d, CODE_BIAS);
  }
}
#elif defined(TYPE_Q6_K)
#include "common/panel_product_q6_k.glsl"
#elif defined(TYPE_CODED)
#include "common/panel_product_coded.glsl"
#elif defined(TYPE_Q4_K)
void add_step(uint step) {
  const uint at = first_step + step;
  uint d_dmin[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) d_dmin[g] = q4_k_scales(at * 64, g);
  for (uint b = 0; b < 8; ++b) {
    clear_part();
    add_block((at * 8 + b) * 64, step * 8 + b);
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const vec2 factors = q4_k_factors(at * 64, d_dmin[g], b, g);
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        const uint i = g * COLUMNS + c;
        precise const float sum = fma(factors.x, part[i], fma(-factors.y, x_sum[c], acc[i]));
        acc[i] = sum;
      }
    }
  }
}
#endif
