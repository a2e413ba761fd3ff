// add_step for Q6_K, included by panel_product.glsl. A step is a superblock: four chunks of 64
// elements, a chunk is four groups of 16 with a scale of their own. A group is word i of the three
// units of its chunk; each word has five 6-bit codes, and the top bits of the three together a
// sixteenth:
//
//   word of unit 0:  e15[0:1] e12 e3 e2 e1 e0      (bit 31 on the left)
//   word of unit 1:  e15[2:3] e13 e7 e6 e5 e4
//   word of unit 2:  e15[4:5] e14 e11 e10 e9 e8
#define CODE_BIAS 32.0
vec4 field_scale(uint j) {
  return (j & 3) < 3 ? 1.0 / vec4(1.0, 64.0, 4096.0, 262144.0)
                     : 1.0 / vec4(vec3(16777216.0), 1.0);
}

// Field i of five, less the bias: with its top bit turned, a code is a signed number of 6 bits.
int unbiased(uint v, int i) { return bitfieldExtract(int(v ^ 0x20820820), 6 * i, 6); }

vec4 four_codes(uint v) {
  if (MASK_ONLY) return vec4(ivec4(v & 0x3f, v & 0xfc0, v & 0x3f000, v & 0xfc0000));
  return vec4(unbiased(v, 0), unbiased(v, 1), unbiased(v, 2), unbiased(v, 3));
}

vec4 last_codes(uvec3 v) {
  const uint e15 = (v.x >> 30) | ((v.y >> 30) << 2) | ((v.z >> 30) << 4);
  if (MASK_ONLY) return vec4(ivec4(v & 0x3f000000, e15));
  return vec4(unbiased(v.x, 4), unbiased(v.y, 4), unbiased(v.z, 4), int(e15) - 32);
}

#ifdef SPLIT_K
void add_group_by_columns(uvec4 unit[3][ROWS], uint i) {
  vec4 w[ROW_VECS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    const uvec3 words = uvec3(unit[0][g][i], unit[1][g][i], unit[2][g][i]);
    [[unroll]] for (uint j = 0; j < 3; ++j) w[j * ROWS + g] = four_codes(words[j]);
    w[3 * ROWS + g] = last_codes(words);
  }
  add_sixteen(w, i % 2 * 4);
}
#endif

void add_chunk(uint first_unit, uint first_scale, uint block, float d[ROWS]) {
  uvec4 unit[3][ROWS];
  [[unroll]] for (uint u = 0; u < 3; ++u) {  // in the order of addresses: prefetchers follow
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      unit[u][g] = LOAD_WIDE(codes, first_unit + u * 64 + row_of(g));
    }
  }
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    if (i % 2 == 0) begin_block(block + i / 2);
    begin_group(i % 2);
    clear_part();
#ifdef SPLIT_K
    if (COLUMNS > 4) {  // Gen9 spills registers where four columns take turns
      add_group_by_columns(unit, i);
    } else
#endif
    [[unroll]] for (uint j = 0; j < 4; ++j) {
      vec4 xs[COLUMNS];
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) xs[c] = x_of(c, i % 2 * 4 + j);
      [[unroll]] for (uint g = 0; g < ROWS; ++g) {
        const vec4 w = j < 3 ? four_codes(unit[min(j, 2)][g][i])
                             : last_codes(uvec3(unit[0][g][i], unit[1][g][i], unit[2][g][i]));
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_products(g, w, c, xs[c]);
      }
    }
    [[unroll]] for (uint g = 0; g < ROWS; ++g) {
      const int scale8 = int(scale_word(first_scale, g) << (24 - 8 * i)) >> 24;
      precise const float scale = d[g] * float(scale8);
      [[unroll]] for (uint c = 0; c < COLUMNS; ++c) add_scaled(g, c, scale, CODE_BIAS);
    }
  }
}

// Scales of a superblock: 4 x 64 words of four int8 (one chunk of a row each), then 64 f16 d.
void add_step(uint step) {
  const uint at = first_step + step;
  float d[ROWS];
  [[unroll]] for (uint g = 0; g < ROWS; ++g) d[g] = scale_half(at * 72 + 64, g);
  for (uint chunk = 0; chunk < 4; ++chunk) {
    add_chunk((at * 4 + chunk) * 192, at * 72 + chunk * 16, step * 8 + chunk * 2, d);
  }
}
