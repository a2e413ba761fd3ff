// add_step(step): adds one step over K of the int8 product to acc, for each weight type (one of the
// TYPE_ macros) and class: PAIRS for int8_swar, else int8_dot.
//
// x is quantised per block of 32 (round_rows.glsl): codes, then a unit { bits of d, sum of codes,
// with bytes that of their first half }.
// Integer sums are exact; one float32 product and sum per block, precise, in the order of K.
#ifdef TYPE_Q4_K
#include "common/q4_k_scales.glsl"
#endif

float acc[MAX_TILE];  // [g][c]
int total[MAX_TILE];  // of the block: sum of weight code * x code
uint x_block;

void clear_total() {
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) total[i] = 0;
}

#ifdef PAIRS
const uint X_UNITS = 9;  // eight units of four int32 codes

ivec4 x_held[COLUMNS];

void begin_block(uint block) {
  x_block = block;
  if (!SPREAD) return;
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    const uint first = x_row[c] + block * X_UNITS;
    x_held[c] = ivec4(LOAD_WIDE(x, first + (gl_SubgroupInvocationID & 7)));
  }
}

ivec4 x_of(uint c, uint j) {
  if (SPREAD) return subgroupShuffle(x_held[c], (gl_SubgroupInvocationID & ~7u) + j);
  return ivec4(LOAD_WIDE(x, x_row[c] + x_block * X_UNITS + j));
}

// Two rows in one multiplication: the sum of 16 products is at most 16 * 15 * 127 = 30480 in
// magnitude, so the low half never leaves 16 bits and the high half is off by its sign alone.
void add_block(uint first, uint block) {
  begin_block(block);
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    ivec4 w[ROWS / 2];
    int both[MAX_TILE / 2];
    [[unroll]] for (uint i = 0; i < ROWS / 2; ++i) {
      w[i] = ivec4(LOAD_WIDE(codes, first + (pair_of(i) * 2 + h) * 8 + lane % 8));
    }
    [[unroll]] for (uint i = 0; i < ROWS / 2 * COLUMNS; ++i) both[i] = 0;
    [[unroll]] for (uint j = 0; j < 4; ++j) {
      ivec4 xs[COLUMNS];
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) xs[c] = x_of(c, h * 4 + j);
      [[unroll]] for (uint i = 0; i < ROWS / 2; ++i) {
        const int v = w[i][j];
        const ivec4 n = ivec4(v, v >> 4, v >> 8, v >> 12) & 0x000f000f;
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
          both[i * COLUMNS + c] += n.x * xs[c].x + n.y * xs[c].y + n.z * xs[c].z + n.w * xs[c].w;
        }
      }
    }
    [[unroll]] for (uint i = 0; i < ROWS / 2; ++i) {
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        const int sums = both[i * COLUMNS + c];
        const int low = (sums << 16) >> 16;
        total[2 * i * COLUMNS + c] += low;
        total[(2 * i + 1) * COLUMNS + c] += (sums - low) >> 16;
      }
    }
  }
}
#else
const uint X_UNITS = 3;  // two units of 16 int8 codes

#include "common/dot4.glsl"

#ifndef TYPE_CODED
#ifdef TYPE_Q8_0
#define UNITS 2
#else
#define UNITS 1
#endif

void add_block(uint first, uint block) {
  x_block = block;
  uvec4 w[ROWS * UNITS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    [[unroll]] for (uint u = 0; u < UNITS; ++u) {
      w[g * UNITS + u] = LOAD_WIDE(codes, first + u * 64 + row_of(g));
    }
  }
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    const uint x_first = x_row[c] + block * X_UNITS;
    const uvec4 low = LOAD_WIDE(x, x_first);
    const uvec4 high = LOAD_WIDE(x, x_first + 1);
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      int sum = total[g * COLUMNS + c];
      [[unroll]] for (uint j = 0; j < 4; ++j) {
#ifdef TYPE_Q8_0
        sum += dot4(w[g * 2][j], low[j]);
        sum += dot4(w[g * 2 + 1][j], high[j]);
#else
        sum += dot4(w[g][j] & 0x0f0f0f0f, low[j]);
        sum += dot4((w[g][j] >> 4) & 0x0f0f0f0f, high[j]);
#endif
      }
      total[g * COLUMNS + c] = sum;
    }
  }
}
#endif  // TYPE_CODED
#endif

float x_scale[COLUMNS];
int x_sum[COLUMNS];
#ifdef TYPE_CODED
int x_half[COLUMNS];
#endif

void read_x_scales() {
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    const uint at = x_row[c] + x_block * X_UNITS + X_UNITS - 1;
    const uvec4 unit = LOAD_WIDE(x, at);
    x_scale[c] = uintBitsToFloat(unit.x);
    x_sum[c] = int(unit.y);
#ifdef TYPE_CODED
    x_half[c] = int(unit.z);
#endif
  }
}

#if defined(TYPE_Q4_0) || defined(TYPE_Q8_0)
#if defined(TYPE_Q8_0)
const int CODE_BIAS = 0;
#define STEP_UNITS 128
#else
const int CODE_BIAS = 8;
#define STEP_UNITS 64
#endif
void add_step(uint step) {
  const uint at = first_step + step;
  clear_total();
  add_block(at * STEP_UNITS, step);
  read_x_scales();
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    const float d = scale_half(at * 8, g);
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
      const uint i = g * COLUMNS + c;
      precise const float factor = d * x_scale[c];
      precise const float sum = fma(factor, float(total[i] - CODE_BIAS * x_sum[c]), acc[i]);
      acc[i] = sum;
    }
  }
}
#elif defined(TYPE_Q4_K)
void add_step(uint step) {
  const uint at = first_step + step;
  uint d_dmin[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) d_dmin[g] = q4_k_scales(at * 64, g);
  for (uint b = 0; b < 8; ++b) {
    clear_total();
    add_block((at * 8 + b) * 64, step * 8 + b);
    read_x_scales();
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const vec2 factors = q4_k_factors(at * 64, d_dmin[g], b, g);
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        const uint i = g * COLUMNS + c;
        precise const vec2 scaled = factors * x_scale[c];
        precise const float sum =
            fma(scaled.x, float(total[i]), fma(-scaled.y, float(x_sum[c]), acc[i]));
        acc[i] = sum;
      }
    }
  }
}
#elif defined(TYPE_CODED)
#include "common/panel_product_int8_coded.glsl"
#endif
