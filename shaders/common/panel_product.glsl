// add_step(step): adds one step over K of the float32 product to acc, for each weight type (one of
// the TYPE_ macros). A step is a block of 32 elements, or a superblock of 256 for the K-quants; for
// that of TYPE_CODED, thirteen formats in one module, see coded.h. Layouts:
// src/kernels/packed_matrix.hpp.
#if defined(TYPE_Q4_K) && defined(SPLIT_K)
#define WHOLE_WEIGHTS  // scale and minimum are in the weight: the minimum times a sum of x for each
                       // column costs a lane with few rows more
#elif defined(TYPE_F32) || defined(TYPE_F16) || defined(TYPE_BF16)
#define WHOLE_WEIGHTS
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
#ifdef WHOLE_WEIGHTS
#define part acc  // products go straight to the sum
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

#ifdef SPLIT_K
const uint ROW_VECS = 4 * ROWS;

// part += the products of 16 elements: w[j * ROWS + g] are four of row g, and vec4 first + j of the
// block their x. Column by column: x is in scalar registers on AMD, which hold few columns at once.
void add_sixteen(vec4 w[ROW_VECS], uint first) {
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    [[unroll]] for (uint j = 0; j < 4; ++j) {
      const vec4 xs = x_of(c, first + j);
      [[unroll]] for (uint g = 0; g < ROWS; ++g) add_products(g, w[j * ROWS + g], c, xs);
    }
  }
}
#endif

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

vec4 unpack_bytes(uint v) {
  return vec4(float(v & 0xff), float((v >> 8) & 0xff), float((v >> 16) & 0xff), float(v >> 24));
}

// One instruction each with its conversion, where compilers know bytes of registers.
ivec4 signed_bytes(uint v) {
  const int word = int(v);
  return ivec4(bitfieldExtract(word, 0, 8), bitfieldExtract(word, 8, 8),
               bitfieldExtract(word, 16, 8), bitfieldExtract(word, 24, 8));
}

#if defined(TYPE_Q4_0) || defined(TYPE_Q4_K)
// A unit is 32 nibbles: low ones of word j are elements 4j.., high ones 16 + 4j...
#define UNITS 1
#ifdef TYPE_Q4_0
#define CODE_BIAS 8.0
// Codes 0 to 15 less 8 are signed bytes; no byte carries into the next on the way there.
vec4 values_of(uint codes) { return vec4(signed_bytes((codes + 0x78787878) ^ 0x80808080)); }
#else
#define CODE_BIAS 0.0
vec4 values_of(uint codes) { return unpack_bytes(codes); }
#endif
vec4 field_scale(uint j) {
  return j < 4 ? 1.0 / vec4(1.0, 256.0, 65536.0, 16777216.0)
               : 1.0 / vec4(16.0, 4096.0, 1048576.0, 1.0);
}
vec4 weights(uvec4 unit, uint h, uint j) {
  const uint v = unit[j];
  if (!MASK_ONLY) return values_of((v >> (4 * h)) & 0x0f0f0f0f);
  if (h == 0) return vec4(ivec4(v & 0xf, v & 0xf00, v & 0xf0000, v & 0xf000000));
  return vec4(ivec4(v & 0xf0, v & 0xf000, v & 0xf00000, v >> 28));
}
#elif defined(TYPE_Q8_0)
// Two units of 16 bytes, each code + 128.
#define UNITS 2
#define CODE_BIAS 128.0
vec4 field_scale(uint j) { return 1.0 / vec4(1.0, 256.0, 65536.0, 1.0); }
vec4 weights(uvec4 unit, uint h, uint j) {
  const uint v = unit[j];
  if (!MASK_ONLY) return vec4(signed_bytes(v ^ 0x80808080));
  return vec4(ivec4(v & 0xff, v & 0xff00, v & 0xff0000, v >> 24));
}
#elif !defined(TYPE_Q6_K) && !defined(TYPE_CODED)
vec4 field_scale(uint j) { return vec4(1.0); }
#endif

#if defined(TYPE_F32)
#define UNITS 8
vec4 weights(uvec4 unit, uint h, uint j) { return uintBitsToFloat(unit); }
#elif defined(TYPE_F16)
#define UNITS 4
vec4 weights(uvec4 unit, uint h, uint j) {
  const uint i = 2 * j;
  return vec4(unpackHalf2x16(unit[i]), unpackHalf2x16(unit[i + 1]));
}
#elif defined(TYPE_BF16)
#define UNITS 4
vec4 weights(uvec4 unit, uint h, uint j) {
  const uint i = 2 * j;
  return uintBitsToFloat(uvec4(unit[i] << 16, unit[i] & 0xffff0000, unit[i + 1] << 16,
                               unit[i + 1] & 0xffff0000));
}
#endif

#if !defined(TYPE_Q6_K) && !defined(TYPE_CODED)
// part += the products of a block of 32: UNITS units a row from unit `first` of codes on.
const uint HALF_UNITS = UNITS == 1 ? 1 : UNITS / 2;  // of half a block; one has both

uvec4 load_unit(uint first, uint h, uint u, uint g) {
  return LOAD_WIDE(codes, first + (UNITS == 1 ? 0 : h * HALF_UNITS + u) * 64 + row_of(g));
}

#ifdef SPLIT_K
#ifdef TYPE_Q4_K
vec2 factors[ROWS];  // scale and minimum of the block
#endif

vec4 scaled_weights(uint g, vec4 codes) {
#ifdef TYPE_Q4_K
  precise const vec4 values = fma(vec4(factors[g].x), codes, vec4(-factors[g].y));
  return values;
#else
  return codes;
#endif
}

void add_half_block(uint first, uint h) {
  vec4 w[ROW_VECS];
  [[unroll]] for (uint u = 0; u < HALF_UNITS; ++u) {
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const uvec4 unit = load_unit(first, h, u, g);
      [[unroll]] for (uint j = 0; j < 4 / HALF_UNITS; ++j) {
        w[(u * (4 / HALF_UNITS) + j) * ROWS + g] = scaled_weights(g, weights(unit, h, j));
      }
    }
  }
  add_sixteen(w, h * 4);
}
#else
void add_half_block(uint first, uint h) {
  [[unroll]] for (uint u = 0; u < HALF_UNITS; ++u) {
    uvec4 unit[ROWS];
    [[unroll]] for (uint g = 0; g < ROWS; ++g) unit[g] = load_unit(first, h, u, g);
    [[unroll]] for (uint j = 0; j < 4 / HALF_UNITS; ++j) {
      vec4 xs[COLUMNS];
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        xs[c] = x_of(c, h * 4 + u * (4 / HALF_UNITS) + j);
      }
      [[unroll]] for (uint g = 0; g < ROWS; ++g) {
        const vec4 w = weights(unit[g], h, j);
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_products(g, w, c, xs[c]);
      }
    }
  }
}
#endif

void add_block(uint first, uint block) {
  begin_block(block);
  begin_group(0);
  [[unroll]] for (uint h = 0; h < 2; ++h) add_half_block(first, h);
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
#ifdef SPLIT_K
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      factors[g] = q4_k_factors(at * 64, d_dmin[g], b, g);
    }
    add_block((at * 8 + b) * 64, step * 8 + b);
#else
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
#endif
  }
}
#endif
