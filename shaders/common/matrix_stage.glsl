// Shared memory of a subgroup that multiplies cooperative matrices (matmul.comp), in units of 8
// bytes:
//
//   w  int8 [64 rows][CODE_STRIDE]     4 units of codes, 2 that keep rows in different banks
//   x  int8 [COLUMNS][CODE_STRIDE]     with two groups 2 units of zeros lie between their codes, so
//                                      that 4 units are either group and nothing of the other
//   w_factor  float [W_FACTORS][64]      of this block: the scale of each group, then the minima
//   x_factor  float [X_FACTORS][COLUMNS]   scale; the sum of codes of each group, if there are minima
//   head      u32 [64]                 what the groups of a superblock share: eight registers of a
//                                      lane on Intel
//
// and, when K is done, the sums of MATRIX_N columns: float [MATRIX_N][64].
const uint W_FACTORS = HAS_LEAST ? 2 * GROUPS : GROUPS;
const uint X_FACTORS = HAS_LEAST ? 1 + GROUPS : 1;
#if defined(TYPE_Q4_K) || defined(TYPE_CODED)
const uint HEAD_UNITS = 32;
#else
const uint HEAD_UNITS = 0;
#endif
const uint CODE_STRIDE = 6;
const uint X_AT = 64 * CODE_STRIDE;
const uint W_FACTOR_AT = X_AT + COLUMNS * CODE_STRIDE;
const uint X_FACTOR_AT = W_FACTOR_AT + W_FACTORS * 32;
const uint HEAD_AT = X_FACTOR_AT + X_FACTORS * COLUMNS / 2;
const uint BLOCK_UNITS = HEAD_AT + HEAD_UNITS;
const uint SUM_UNITS = 32 * MATRIX_N;
const uint STAGE_UNITS = BLOCK_UNITS > SUM_UNITS ? BLOCK_UNITS : SUM_UNITS;

shared uvec2 stage[SPLITS * STAGE_UNITS];
uint stage_at;  // of this subgroup

// The codes of half a block.
void stage_half(uint at, uvec4 codes) {
  stage[stage_at + at] = codes.xy;
  stage[stage_at + at + 1] = codes.zw;
}

void stage_word(uint at, uint i, uint value) { stage[stage_at + at + i / 2][i % 2] = value; }
uint staged_word(uint at, uint i) { return stage[stage_at + at + i / 2][i % 2]; }

void stage_float(uint at, uint i, float value) { stage_word(at, i, floatBitsToUint(value)); }
