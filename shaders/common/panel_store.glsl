// store_panel: acc to y, with the scale of the matrix and the soft cap; with SPLIT_K store_columns,
// which adds the sums of the K splits first.
//
// GATED: the matrix has 32 rows of gate and 32 of up in each panel, and y is gelu_tanh(gate) * up:
// 32 elements, one block of rounded activations, as OUTPUTS says (round_rows.glsl). Without
// SPLIT_K a lane has both rows of an element, so LANES is at most 32 (16 with PAIRS).
float finish_value(float sum) {
  precise const float value = sum * p.scale;
  if (p.softcap == 0.0) return value;
  precise const float scaled = value / p.softcap;
  precise const float capped = p.softcap * accurate_tanh(scaled);
  return capped;
}

float gated_value(float gate, float up) {
  precise const float value = gelu_tanh(finish_value(gate)) * finish_value(up);
  return value;
}

bool in_tile(uint c) { return panel_exists && c < n_tile; }

void store_value(uint row, uint c, float value) {
  if (in_tile(c) && (EXPERTS || panel * 64 + row < p.n_rows)) {
    y[y_index(c) * p.y_stride + first_row + row] = finish_value(value);
  }
}

/// Element r of the 32 that a gated panel makes.
void store_gated_value(uint c, uint r, float value) {
  if (in_tile(c) && HAS_FLOATS) y[y_index(c) * p.y_stride + first_row / 2 + r] = value;
}

uint gated_block(uint c) { return y_index(c) * (p.y_stride / 32) + first_row / 64; }

#ifdef SPLIT_K
// One workgroup is one panel. Includer: STORE_COLUMNS (how many columns are stored at a time) and
// split_sum(s, c, row): the sum of split s for the c-th of them.
shared vec4 gated_values[GATED ? STORE_COLUMNS * 8 : 1];

float add_splits(uint c, uint row) {
  precise float sum = 0.0;
  for (uint s = 0; s < SPLITS; ++s) sum += split_sum(s, c, row);
  return sum;
}

/// A block of gated_values for each 8 invocations, which read all of it.
void round_gated(uint first) {
  for (uint i = gl_LocalInvocationID.x; i < STORE_COLUMNS * 8; i += gl_WorkGroupSize.x) {
    const uint at = i / 8 * 8, c = first + i / 8;
    float largest = 0.0;
    [[unroll]] for (uint j = 0; j < 8; ++j) largest = max(largest, max4(gated_values[at + j]));
    const float inverse = inverse_scale(largest);
    ivec2 sums = ivec2(0);
    [[unroll]] for (uint j = 0; j < 8; ++j) {
      sums += sum4(round_codes(gated_values[at + j], inverse)) * ivec2(j < 4, 1);
    }
    if (!in_tile(c)) continue;
    store_codes(gated_block(c), i % 8, round_codes(gated_values[i], inverse));
    if (i % 8 == 0) store_scale(gated_block(c), largest, sums);
  }
}

void store_gated(uint first) {
  for (uint i = gl_LocalInvocationID.x; i < 32 * STORE_COLUMNS; i += gl_WorkGroupSize.x) {
    const uint c = i / 32, r = i % 32;
    const float value = gated_value(add_splits(c, r), add_splits(c, r + 32));
    store_gated_value(first + c, r, value);
    if (HAS_CODES) gated_values[c * 8 + r / 4][r % 4] = value;
  }
  if (!HAS_CODES) return;
  barrier();
  round_gated(first);
}

/// Columns first .. first + STORE_COLUMNS of the tile, whose sums every invocation can read.
void store_columns(uint first) {
  if (GATED) {
    store_gated(first);
    return;
  }
  for (uint i = gl_LocalInvocationID.x; i < 64 * STORE_COLUMNS; i += gl_WorkGroupSize.x) {
    store_value(i % 64, first + i / 64, add_splits(i / 64, i % 64));
  }
}
#else
/// The code of element r of a block; with bytes the lanes of four neighbouring r join theirs.
void store_code(uint block, uint r, int code, bool exists) {
  uint word = uint(code);
  if ((OUTPUTS & kBytes) != 0) {
    word = (word & 0xff) << (8 * (r % 4));
    word |= subgroupShuffleXor(word, 1);
    word |= subgroupShuffleXor(word, 2);
    exists = exists && r % 4 == 0;
    r /= 4;
  }
  if (exists) STORE_WORD(block * BLOCK_WORDS + r, word);
}

// Sums are stored by loops that stay loops: a CPU driver's compiler takes longer over stores and
// what goes before them, each written out, than over the product itself.
float sums[MAX_TILE];  // acc, which loops that compute it must not index

float gated_sum(uint c, uint g) {
  return gated_value(sums[g * COLUMNS + c], sums[(g + ROWS / 2) * COLUMNS + c]);
}

/// The panel's lanes are neighbours in one subgroup; each has `value` of elements row_of(g).
void round_gated(uint c, float value[4]) {
  float largest = 0.0;
  [[dont_unroll]] for (uint g = 0; g < ROWS / 2; ++g) largest = max(largest, abs(value[g]));
  [[unroll]] for (uint step = 1; step < LANES; step *= 2) {
    largest = max(largest, subgroupShuffleXor(largest, step));
  }
  const float inverse = inverse_scale(largest);
  ivec2 sums = ivec2(0);
  [[dont_unroll]] for (uint g = 0; g < ROWS / 2; ++g) {
    const int code = round_codes(vec4(value[g]), inverse).x;
    sums += code * ivec2(row_of(g) < 16, 1);
    store_code(gated_block(c), row_of(g), code, in_tile(c));
  }
  [[unroll]] for (uint step = 1; step < LANES; step *= 2) sums += subgroupShuffleXor(sums, step);
  if (in_tile(c) && lane == 0) store_scale(gated_block(c), largest, sums);
}

void store_gated() {
  [[dont_unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    float value[4];
    [[dont_unroll]] for (uint g = 0; g < ROWS / 2; ++g) {
      value[g] = gated_sum(c, g);
      store_gated_value(c, row_of(g), value[g]);
    }
    if (HAS_CODES) round_gated(c, value);
  }
}

void store_panel() {
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) sums[i] = acc[i];
  if (GATED) {
    store_gated();
    return;
  }
  [[dont_unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
    store_value(row_of(i / COLUMNS), i % COLUMNS, sums[i]);
  }
}
#endif
