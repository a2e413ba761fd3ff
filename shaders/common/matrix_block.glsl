// add_step(step, counts): one step over K of the product of cooperative matrices (matmul.comp), for
// each weight type (one of the TYPE_ macros); one that does not count leaves acc as it is. The
// rounding is that of panel_product_int8.glsl.
#if defined(TYPE_Q4_K)
#include "common/q4_k_scales.glsl"
#define N_BLOCKS 8  // of a step
#elif defined(TYPE_CODED)
#define FORMAT_CONSTANT 7
#include "common/coded.glsl"
#define N_BLOCKS coded_blocks(FORMAT)
#else
#define N_BLOCKS 1
#endif

const uint X_UNITS = 3;  // of a block of x: two units of codes, one of scale and sum
const uint STAGED = (COLUMNS + LANES - 1) / LANES;  // columns that a lane stages
// Products of a group.
const uint GROUP_TILES = MATRIX_K == 32 ? 1 : K_TILES / GROUPS;
const uint X_HALF = GROUPS == 2 ? 4 : 2;  // units from one half of a column's codes to the other

// A call for each row of the lane, one after the other where eight at a time are more than registers
// hold beside the accumulators (Intel's subgroups of 8).
#define EACH_ROW(call)                                                  \
  if (ROWS > 4) [[dont_unroll]] for (uint g = 0; g < ROWS; ++g) { call; } \
  else [[unroll]] for (uint g = 0; g < ROWS; ++g) { call; }

uint x_first[STAGED];  // where they start in x

void find_staged_columns() {
  stage_at = split * STAGE_UNITS;
  [[unroll]] for (uint i = 0; i < STAGED; ++i) x_first[i] = x_start(i * LANES + lane);
}

void clear_gaps() {
  if (GROUPS == 1) return;
  [[unroll]] for (uint i = 0; i < STAGED; ++i) {
    const uint c = i * LANES + lane;
    if (c < COLUMNS) stage_half(X_AT + c * CODE_STRIDE + 2, uvec4(0));
  }
}

void stage_x(uint block) {
  [[unroll]] for (uint i = 0; i < STAGED; ++i) {
    const uint c = i * LANES + lane;
    if (c >= COLUMNS) continue;
    const uint first = x_first[i] + block * X_UNITS;
    [[unroll]] for (uint h = 0; h < 2; ++h) {
      stage_half(X_AT + c * CODE_STRIDE + h * X_HALF, LOAD_WIDE(x, first + h));
    }
    const uvec4 factors = LOAD_WIDE(x, first + 2);
    const int sum = int(factors.y), half_sum = int(factors.z);
    stage_float(X_FACTOR_AT, c, uintBitsToFloat(factors.x));
    if (!HAS_LEAST) continue;
    stage_float(X_FACTOR_AT + COLUMNS / 2, c, float(GROUPS == 2 ? half_sum : sum));
    if (GROUPS == 2) stage_float(X_FACTOR_AT + COLUMNS, c, float(sum - half_sum));
  }
}

// Nibbles of four bytes, as signed codes around 8 where the type has no min.
uvec4 nibble_codes(uvec4 nibbles) {
#ifdef TYPE_Q4_0
  return ((nibbles | 0x80808080) - 0x08080808) ^ 0x80808080;
#else
  return nibbles;
#endif
}

#if defined(TYPE_CODED)
uint signed_codes(uint codes) {
  if (has_table()) return table_bytes(codes);
  return ((codes | 0x80808080) - coded_bias(FORMAT) * 0x01010101) ^ 0x80808080;
}

uvec4 half_codes(uint at, uint b, uint h, uint g) {
  const uint unit_at = (at * coded_blocks(FORMAT) + b) * coded_bits(FORMAT) / 4;
  const uvec4 unit = LOAD_WIDE(codes, unit_at * 64 + row_of(g));
  const uvec2 high = high_words(at * coded_scale_units(FORMAT), b, g);
  uvec4 words;
  [[unroll]] for (uint j = 0; j < 4; ++j) {
    words[j] = signed_codes(four_codes(unit, high, b, h * 4 + j));
  }
  return words;
}
#elif defined(TYPE_Q8_0)
uvec4 half_codes(uint at, uint b, uint h, uint g) {
  return LOAD_WIDE(codes, (at * 2 + h) * 64 + row_of(g));
}
#else
uvec4 half_codes(uint at, uint b, uint h, uint g) {
  const uvec4 unit = LOAD_WIDE(codes, (at * N_BLOCKS + b) * 64 + row_of(g));
  return nibble_codes((unit >> (4 * h)) & 0x0f0f0f0f);
}
#endif

void stage_row(uint at, uint b, uint g) {
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    stage_half(row_of(g) * CODE_STRIDE + h * 2, half_codes(at, b, h, g));
  }
}

#define MATRIX_OF(type, rows, columns, use) coopmat<type, gl_ScopeSubgroup, rows, columns, use>
#define FLOATS MATRIX_OF(float, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator)
#define TOTALS MATRIX_OF(int, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator)

// acc += scale * total (- min * sum of codes) of group h of the staged block. With zeros beside them
// in x, products of 32 elements take the codes of both groups from w.
void add_group(uint h) {
  const uint x_place = h * (MATRIX_K == 32 ? 2 : X_HALF);
  const uint w_place = MATRIX_K == 32 ? 0 : h * 2;
  MATRIX_OF(int8_t, MATRIX_K, MATRIX_N, gl_MatrixUseB) xs[COLUMN_TILES * GROUP_TILES];
  FLOATS x_factor[COLUMN_TILES * 2];  // scale, sum of codes
  [[unroll]] for (uint c = 0; c < COLUMN_TILES; ++c) {
    [[unroll]] for (uint t = 0; t < GROUP_TILES; ++t) {
      coopMatLoad(xs[c * GROUP_TILES + t], stage,
                  stage_at + X_AT + c * (MATRIX_N * CODE_STRIDE) + x_place + t * (MATRIX_K / 8),
                  CODE_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
    }
    [[unroll]] for (uint f = 0; f < (HAS_LEAST ? 2 : 1); ++f) {
      coopMatLoad(x_factor[c * 2 + f], stage,
                  stage_at + X_FACTOR_AT + f * (1 + h) * (COLUMNS / 2) + c * (MATRIX_N / 2), 0,
                  gl_CooperativeMatrixLayoutRowMajor);
    }
  }
  [[unroll]] for (uint r = 0; r < ROW_TILES; ++r) {
    MATRIX_OF(int8_t, MATRIX_M, MATRIX_K, gl_MatrixUseA) ws[GROUP_TILES];
    [[unroll]] for (uint t = 0; t < GROUP_TILES; ++t) {
      coopMatLoad(ws[t], stage,
                  stage_at + r * (MATRIX_M * CODE_STRIDE) + w_place + t * (MATRIX_K / 8),
                  CODE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    }
    FLOATS w_factor[2];  // scale, min
    [[unroll]] for (uint f = 0; f < (HAS_LEAST ? 2 : 1); ++f) {
      coopMatLoad(w_factor[f], stage,
                  stage_at + W_FACTOR_AT + (f * GROUPS + h) * 32 + r * (MATRIX_M / 2), 0,
                  gl_CooperativeMatrixLayoutColumnMajor);
    }
    [[unroll]] for (uint c = 0; c < COLUMN_TILES; ++c) {
      TOTALS total = TOTALS(0);
      [[unroll]] for (uint t = 0; t < GROUP_TILES; ++t) {
        total = coopMatMulAdd(ws[t], xs[c * GROUP_TILES + t], total);
      }
      const uint at = r * COLUMN_TILES + c;
      [[unroll]] for (uint i = 0; i < total.length(); ++i) {
        precise const float factor = w_factor[0][i] * x_factor[c * 2][i];
        precise float sum = acc[at][i];
        if (HAS_LEAST) {
          precise const float least = w_factor[1][i] * x_factor[c * 2][i];
          sum = fma(-least, x_factor[c * 2 + 1][i], sum);
        }
        sum = fma(factor, float(total[i]), sum);
        acc[at][i] = sum;
      }
    }
  }
}

// Two groups one after the other: side by side they are more than registers hold on Intel.
void add_block() {
  if (GROUPS == 1) {
    add_group(0);
  } else {
    [[dont_unroll]] for (uint h = 0; h < GROUPS; ++h) add_group(h);
  }
}

void multiply_block(bool counts) {
  subgroupBarrier();
  if (counts) add_block();
  subgroupBarrier();  // before the next block is staged
}

#if defined(TYPE_Q4_K)
uint read_head(uint at, uint g) { return q4_k_scales(at * 64, g); }
vec2 block_factors(uint at, uint b, uint h, uint g) {
  return q4_k_factors(at * 64, staged_word(HEAD_AT, row_of(g)), b, g);
}
#elif defined(TYPE_CODED)
uint first_scale(uint at) { return at * coded_scale_units(FORMAT) + coded_high_units(FORMAT); }
uint read_head(uint at, uint g) { return step_head(first_scale(at), g); }
vec2 block_factors(uint at, uint b, uint h, uint g) {
  return group_factors(first_scale(at), staged_word(HEAD_AT, row_of(g)), b, h, g);
}
#else
uint read_head(uint at, uint g) { return 0; }
vec2 block_factors(uint at, uint b, uint h, uint g) { return vec2(scale_half(at * 8, g), 0.0); }
#endif

void stage_factors(uint at, uint b, uint g) {
  [[unroll]] for (uint h = 0; h < GROUPS; ++h) {
    const vec2 factors = block_factors(at, b, h, g);
    stage_float(W_FACTOR_AT + h * 32, row_of(g), factors.x);
    if (HAS_LEAST) stage_float(W_FACTOR_AT + (GROUPS + h) * 32, row_of(g), factors.y);
  }
}

void add_step(uint step, bool counts) {
  const uint at = first_step + step;
  if (HEAD_UNITS > 0) { EACH_ROW(stage_word(HEAD_AT, row_of(g), read_head(at, g))) }
  for (uint b = 0; b < N_BLOCKS; ++b) {
    EACH_ROW(stage_row(at, b, g))
    stage_x(step * N_BLOCKS + b);
    EACH_ROW(stage_factors(at, b, g))
    multiply_block(counts);
  }
}
