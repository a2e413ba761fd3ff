// Shared memory of a subgroup that multiplies cooperative matrices (matmul.comp), in units of 8
// bytes:
//
//   w  int8 [64 rows][CODE_STRIDE]     4 units of codes, 2 that keep rows in different banks
//   x  int8 [COLUMNS][CODE_STRIDE]
//   w_factor  float [FACTORS][64]      of this block: scale, and min where the type has one
//   x_factor  float [FACTORS][COLUMNS]   scale, and the sum of codes
//   d_dmin    f16 [64][2]              Q4_K: of the superblock; eight registers of a lane on Intel
//
// and, when K is done, the sums of MATRIX_N columns: float [MATRIX_N][64].
#ifdef TYPE_Q4_K
const uint FACTORS = 2;
#else
const uint FACTORS = 1;
#endif
const uint CODE_STRIDE = 6;
const uint X_AT = 64 * CODE_STRIDE;
const uint W_FACTOR_AT = X_AT + COLUMNS * CODE_STRIDE;
const uint X_FACTOR_AT = W_FACTOR_AT + FACTORS * 32;
const uint D_DMIN_AT = X_FACTOR_AT + FACTORS * COLUMNS / 2;
const uint BLOCK_UNITS = D_DMIN_AT + (FACTORS - 1) * 32;
const uint SUM_UNITS = 32 * MATRIX_N;
const uint STAGE_UNITS = BLOCK_UNITS > SUM_UNITS ? BLOCK_UNITS : SUM_UNITS;

shared uvec2 stage[SPLITS * STAGE_UNITS];
uint stage_at;  // of this subgroup

void stage_codes(uint at, uint half_block, uvec4 codes) {
  stage[stage_at + at + half_block * 2] = codes.xy;
  stage[stage_at + at + half_block * 2 + 1] = codes.zw;
}

void stage_word(uint at, uint i, uint value) { stage[stage_at + at + i / 2][i % 2] = value; }
uint staged_word(uint at, uint i) { return stage[stage_at + at + i / 2][i % 2]; }

void stage_float(uint at, uint i, float value) { stage_word(at, i, floatBitsToUint(value)); }
