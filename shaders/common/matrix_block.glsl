// add_step(step, counts): one step over K of the product of cooperative matrices (matmul.comp), for
// each weight type (one of the TYPE_ macros); one that does not count leaves acc as it is. The
// rounding is that of panel_product_int8.glsl.
#ifdef TYPE_Q4_K
#include "common/q4_k_scales.glsl"
#endif

const uint X_UNITS = 3;  // of a block of x: two units of codes, one of scale and sum
const uint STAGED = (COLUMNS + LANES - 1) / LANES;  // columns that a lane stages

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

void stage_x(uint block) {
  [[unroll]] for (uint i = 0; i < STAGED; ++i) {
    const uint c = i * LANES + lane;
    if (c >= COLUMNS) continue;
    const uint first = x_first[i] + block * X_UNITS;
    [[unroll]] for (uint h = 0; h < 2; ++h) {
      stage_codes(X_AT + c * CODE_STRIDE, h, LOAD_WIDE(x, first + h));
    }
    const uvec4 factors = LOAD_WIDE(x, first + 2);
    stage_float(X_FACTOR_AT, c, uintBitsToFloat(factors.x));
    if (FACTORS == 2) stage_float(X_FACTOR_AT + COLUMNS / 2, c, float(int(factors.y)));
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

void stage_row(uint first, uint g) {
  const uint at = row_of(g) * CODE_STRIDE;
#ifdef TYPE_Q8_0
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    stage_codes(at, h, LOAD_WIDE(codes, first + h * 64 + row_of(g)));
  }
#else
  const uvec4 unit = LOAD_WIDE(codes, first + row_of(g));
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    stage_codes(at, h, nibble_codes((unit >> (4 * h)) & 0x0f0f0f0f));
  }
#endif
}

#define MATRIX_OF(type, rows, columns, use) coopmat<type, gl_ScopeSubgroup, rows, columns, use>
#define FLOATS MATRIX_OF(float, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator)
#define TOTALS MATRIX_OF(int, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator)

// acc += scale * total (- min * sum of codes) for the staged block.
void add_block() {
  MATRIX_OF(int8_t, MATRIX_K, MATRIX_N, gl_MatrixUseB) xs[COLUMN_TILES * K_TILES];
  FLOATS x_factor[COLUMN_TILES * FACTORS];
  [[unroll]] for (uint c = 0; c < COLUMN_TILES; ++c) {
    [[unroll]] for (uint k = 0; k < K_TILES; ++k) {
      coopMatLoad(xs[c * K_TILES + k], stage,
                  stage_at + X_AT + c * (MATRIX_N * CODE_STRIDE) + k * (MATRIX_K / 8), CODE_STRIDE,
                  gl_CooperativeMatrixLayoutColumnMajor);
    }
    [[unroll]] for (uint f = 0; f < FACTORS; ++f) {
      coopMatLoad(x_factor[c * FACTORS + f], stage,
                  stage_at + X_FACTOR_AT + f * (COLUMNS / 2) + c * (MATRIX_N / 2), 0,
                  gl_CooperativeMatrixLayoutRowMajor);
    }
  }
  [[unroll]] for (uint r = 0; r < ROW_TILES; ++r) {
    MATRIX_OF(int8_t, MATRIX_M, MATRIX_K, gl_MatrixUseA) ws[K_TILES];
    [[unroll]] for (uint k = 0; k < K_TILES; ++k) {
      coopMatLoad(ws[k], stage, stage_at + r * (MATRIX_M * CODE_STRIDE) + k * (MATRIX_K / 8),
                  CODE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    }
    FLOATS w_factor[FACTORS];
    [[unroll]] for (uint f = 0; f < FACTORS; ++f) {
      coopMatLoad(w_factor[f], stage, stage_at + W_FACTOR_AT + f * 32 + r * (MATRIX_M / 2), 0,
                  gl_CooperativeMatrixLayoutColumnMajor);
    }
    [[unroll]] for (uint c = 0; c < COLUMN_TILES; ++c) {
      TOTALS total = TOTALS(0);
      [[unroll]] for (uint k = 0; k < K_TILES; ++k) {
        total = coopMatMulAdd(ws[k], xs[c * K_TILES + k], total);
      }
      const uint at = r * COLUMN_TILES + c;
      [[unroll]] for (uint i = 0; i < total.length(); ++i) {
        precise const float factor = w_factor[0][i] * x_factor[c * FACTORS][i];
#ifdef TYPE_Q4_K
        precise const float least = w_factor[1][i] * x_factor[c * FACTORS][i];
        precise const float start = fma(-least, x_factor[c * FACTORS + 1][i], acc[at][i]);
#else
        const float start = acc[at][i];
#endif
        precise const float sum = fma(factor, float(total[i]), start);
        acc[at][i] = sum;
      }
    }
  }
}

void multiply_block(bool counts) {
  subgroupBarrier();
  if (counts) add_block();
  subgroupBarrier();  // before the next block is staged
}

#ifdef TYPE_Q4_K
void stage_factors(uint first, uint b, uint g) {
  const vec2 factors = q4_k_factors(first, staged_word(D_DMIN_AT, row_of(g)), b, g);
  stage_float(W_FACTOR_AT, row_of(g), factors.x);
  stage_float(W_FACTOR_AT + 32, row_of(g), factors.y);
}

void add_step(uint step, bool counts) {
  const uint at = first_step + step;
  EACH_ROW(stage_word(D_DMIN_AT, row_of(g), q4_k_scales(at * 64, g)))
  for (uint b = 0; b < 8; ++b) {
    EACH_ROW(stage_row((at * 8 + b) * 64, g))
    stage_x(step * 8 + b);
    EACH_ROW(stage_factors(at * 64, b, g))
    multiply_block(counts);
  }
}
#else
#ifdef TYPE_Q8_0
const uint STEP_UNITS = 128;
#else
const uint STEP_UNITS = 64;
#endif
void add_step(uint step, bool counts) {
  const uint at = first_step + step;
  EACH_ROW(stage_row(at * STEP_UNITS, g))
  stage_x(step);
  EACH_ROW(stage_float(W_FACTOR_AT, row_of(g), scale_half(at * 8, g)))
  multiply_block(counts);
}
#endif
