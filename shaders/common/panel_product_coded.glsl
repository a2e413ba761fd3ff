// add_step for the formats of coded.h, included by panel_product.glsl. A unit has the codes of 32,
// 64 or 128 elements of a row.
vec4 field_scale(uint j) {
  return has_table() ? vec4(1.0) : 1.0 / vec4(1.0, 256.0, 65536.0, 1.0);
}

// As table_value, with the eight magnitudes in the nibbles of one word.
float fp4_value(uint code) {
  const uint magnitude = (0xc8643210 >> (4 * (code & 7))) & 15;
  return uintBitsToFloat(floatBitsToUint(float(int(magnitude))) | (code & 8) << 28);
}

vec4 weights(uint codes) {
  if (coded_is_fp4(FORMAT)) {
    return vec4(fp4_value(codes & 15), fp4_value(codes >> 8 & 15), fp4_value(codes >> 16 & 15),
                fp4_value(codes >> 24));
  }
  if (has_table()) {
    return vec4(ivec4(table_value(codes & 15), table_value(codes >> 8 & 15),
                      table_value(codes >> 16 & 15), table_value(codes >> 24)));
  }
  if (!MASK_ONLY) return unpack_bytes(codes);
  return vec4(ivec4(codes & 0xff, codes & 0xff00, codes & 0xff0000, codes >> 24));
}

// Half h of a block, of which `unit` and `high` have every row's codes.
void add_half(uvec4 unit[ROWS], uvec2 high[ROWS], uint b, uint h) {
#ifdef SPLIT_K
  vec4 w[ROW_VECS];
  [[unroll]] for (uint j = 0; j < 4; ++j) {
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      w[j * ROWS + g] = weights(four_codes(unit[g], high[g], b, h * 4 + j));
    }
  }
  add_sixteen(w, h * 4);
#else
  [[unroll]] for (uint jj = 0; jj < 4; ++jj) {
    const uint j = h * 4 + jj;
    vec4 xs[COLUMNS];
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) xs[c] = x_of(c, j);
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const vec4 w = weights(four_codes(unit[g], high[g], b, j));
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_products(g, w, c, xs[c]);
    }
  }
#endif
}

// acc += scale * part - min * sum of x, for the group that ends with half h of block b.
void add_group(uint first, uint head[ROWS], uint b, uint h) {
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    const vec2 factors = group_factors(first, head[g], b, h, g);
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
      const uint i = g * COLUMNS + c;
      precise const float least = has_table() ? acc[i] : fma(-factors.y, x_sum[c], acc[i]);
      precise const float sum = fma(factors.x, part[i], least);
      acc[i] = sum;
    }
  }
}

// Block b of a step; `at` counts the steps of all panels before it.
void add_coded_block(uint at, uint step, uint b, uint head[ROWS]) {
  const uint first_high = at * coded_scale_units(FORMAT);
  const uint first_unit = (at * coded_blocks(FORMAT) + b) * coded_bits(FORMAT) / 4;
  begin_block(step * coded_blocks(FORMAT) + b);
  uvec4 unit[ROWS];
  uvec2 high[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    unit[g] = LOAD_WIDE(codes, first_unit * 64 + row_of(g));
    high[g] = high_words(first_high, b, g);
  }
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    const bool starts = h == 0 || coded_has_small_groups(FORMAT);
    const bool ends = h == 1 || coded_has_small_groups(FORMAT);
    if (starts) begin_group(h);
    if (starts) clear_part();
    add_half(unit, high, b, h);
    if (ends) add_group(first_high + coded_high_units(FORMAT), head, b, h);
  }
}

void add_step(uint step) {
  const uint at = first_step + step;
  const uint first = at * coded_scale_units(FORMAT) + coded_high_units(FORMAT);
  uint head[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) head[g] = step_head(first, g);
  // A loop of one round inside the loop over steps costs lavapipe half of the speed.
  if (coded_blocks(FORMAT) == 1) {
    add_coded_block(at, step, 0, head);
  } else {
    for (uint b = 0; b < coded_blocks(FORMAT); ++b) add_coded_block(at, step, b, head);
  }
}
