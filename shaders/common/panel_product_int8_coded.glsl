// add_step for the formats of coded.h with int8 activations, included by panel_product_int8.glsl.
#define FORMAT_CONSTANT 7
#include "common/coded.glsl"

// total += the products of half h of a block, of which `unit` and `high` have every row's codes.
void add_half(uvec4 unit[ROWS], uvec2 high[ROWS], uint b, uint h) {
  uvec4 xs[COLUMNS];
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    xs[c] = LOAD_WIDE(x, x_row[c] + x_block * X_UNITS + h);
  }
  [[unroll]] for (uint j = 0; j < 4; ++j) {
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const uint codes = four_codes(unit[g], high[g], b, h * 4 + j);
      const uint w = has_table() ? table_bytes(codes) : codes;
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) total[g * COLUMNS + c] += dot4(w, xs[c][j]);
    }
  }
}

// The sum of the codes of x in the group that ends with half h.
int group_sum(uint c, uint h) {
  if (!coded_has_small_groups(FORMAT)) return x_sum[c];
  return h == 0 ? x_half[c] : x_sum[c] - x_half[c];
}

// acc += x_scale * (scale * total - min * x_sum), for the group that ends with half h of block b; a
// bias is taken from the total while it is an integer.
void add_group(uint first, uint head[ROWS], uint b, uint h) {
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    const vec2 factors = group_factors(first, head[g], b, h, g);
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
      const uint i = g * COLUMNS + c;
      precise const vec2 scaled = factors * x_scale[c];
      const int unbiased = total[i] - int(coded_bias(FORMAT)) * group_sum(c, h);
      precise const float least = coded_has_least(FORMAT)
                                      ? fma(-scaled.y, float(group_sum(c, h)), acc[i])
                                      : acc[i];
      precise const float sum = fma(scaled.x, float(unbiased), least);
      acc[i] = sum;
    }
  }
}

// acc += the products of block b of a step, whose scales and codes start at these units.
void add_coded_block(uint first_high, uint first_unit, uint step, uint b, uint head[ROWS]) {
  x_block = step * coded_blocks(FORMAT) + b;
  uvec4 unit[ROWS];
  uvec2 high[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    unit[g] = LOAD_WIDE(codes, (first_unit + b * coded_bits(FORMAT) / 4) * 64 + row_of(g));
    high[g] = high_words(first_high, b, g);
  }
  read_x_scales();
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    const bool starts = h == 0 || coded_has_small_groups(FORMAT);
    const bool ends = h == 1 || coded_has_small_groups(FORMAT);
    if (starts) clear_total();
    add_half(unit, high, b, h);
    if (ends) add_group(first_high + coded_high_units(FORMAT), head, b, h);
  }
}

void add_step(uint step) {
  const uint at = first_step + step;
  const uint n_blocks = coded_blocks(FORMAT);
  const uint first_high = at * coded_scale_units(FORMAT);
  const uint first_unit = at * (n_blocks * coded_bits(FORMAT) / 4);
  uint head[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    head[g] = step_head(first_high + coded_high_units(FORMAT), g);
  }
  if (COLUMNS > 4) {  // of more blocks at once the activations are more than AMD's scalar registers
    [[dont_unroll]] for (uint b = 0; b < n_blocks; ++b) {
      add_coded_block(first_high, first_unit, step, b, head);
    }
  } else {
    for (uint b = 0; b < n_blocks; ++b) add_coded_block(first_high, first_unit, step, b, head);
  }
}
