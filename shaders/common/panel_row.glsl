// read_block(row, block): the 32 weights of one block of one packed row, for each weight type (one
// of the TYPE_ macros, with PAIRS for the layout of class int8_swar). For gathers, not products.
//
// Includer: declares the wide bindings `codes` and `scales` and p.n_steps.
float block_values[32];

// Unit `u` of the row's step.
uvec4 row_unit(uint row, uint step, uint units, uint u) {
  return LOAD_WIDE(codes, (((row / 64) * p.n_steps + step) * units + u) * 64 + row % 64);
}

uint place_of(uint row) { return row % 8 * 8 + row % 64 / 8; }

uint scale_word(uint first, uint row) {
  const uint place = place_of(row);
  return LOAD_WIDE(scales, first + (place >> 2))[place & 3];
}

float scale_half(uint first, uint row) {
  const uint place = place_of(row);
  const vec2 pair = unpackHalf2x16(LOAD_WIDE(scales, first + (place >> 3))[(place >> 1) & 3]);
  return (place & 1) != 0 ? pair.y : pair.x;
}

uint scale_byte(uint first, uint row) {
  const uint place = place_of(row);
  return (LOAD_WIDE(scales, first + place / 16)[place / 4 % 4] >> (8 * (place % 4))) & 0xff;
}

#if defined(TYPE_F32)
void read_block(uint row, uint block) {
  [[unroll]] for (uint u = 0; u < 8; ++u) {
    const vec4 four = uintBitsToFloat(row_unit(row, block, 8, u));
    [[unroll]] for (uint i = 0; i < 4; ++i) block_values[4 * u + i] = four[i];
  }
}
#elif defined(TYPE_F16) || defined(TYPE_BF16)
void read_block(uint row, uint block) {
  [[unroll]] for (uint u = 0; u < 4; ++u) {
    const uvec4 words = row_unit(row, block, 4, u);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
#ifdef TYPE_F16
      const vec2 two = unpackHalf2x16(words[i]);
#else
      const vec2 two = uintBitsToFloat(uvec2(words[i] << 16, words[i] & 0xffff0000));
#endif
      block_values[8 * u + 2 * i] = two.x;
      block_values[8 * u + 2 * i + 1] = two.y;
    }
  }
}
#elif defined(TYPE_Q8_0)
// Codes + 128 in both layouts that f32 products use; the sign is restored by the subtraction.
void read_block(uint row, uint block) {
  const float d = scale_half(((row / 64) * p.n_steps + block) * 8, row);
  [[unroll]] for (uint u = 0; u < 2; ++u) {
    const uvec4 words = row_unit(row, block, 2, u);
    [[unroll]] for (uint i = 0; i < 16; ++i) {
      const uint code = (words[i / 4] >> (8 * (i % 4))) & 0xff;
#ifdef PLAIN
      block_values[16 * u + i] = d * float(int(code << 24) >> 24);
#else
      block_values[16 * u + i] = d * float(int(code) - 128);
#endif
    }
  }
}
#elif defined(TYPE_Q4_0) || defined(TYPE_Q4_K)
#ifdef TYPE_Q4_K
#include "common/q4_k_scales.glsl"
#endif

// Nibble codes of block `b` of a step of `units` blocks.
void read_nibbles(uint row, uint step, uint units, uint b) {
#ifdef PAIRS
  const uint first = (((row / 64) * p.n_steps + step) * units + b) * 64;
  const uint pair = row % 64 / 16;
  const uint shift = row / 8 % 2 * 16;
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    const uvec4 words = LOAD_WIDE(codes, first + (pair * 2 + h) * 8 + row % 8) >> shift;
    [[unroll]] for (uint i = 0; i < 16; ++i) {
      block_values[16 * h + i] = float((words[i / 4] >> (4 * (i % 4))) & 15);
    }
  }
#else
  const uvec4 words = row_unit(row, step, units, b);
  [[unroll]] for (uint i = 0; i < 16; ++i) {
    const uint code = words[i / 4] >> (8 * (i % 4));
    block_values[i] = float(code & 15);
    block_values[16 + i] = float((code >> 4) & 15);
  }
#endif
}

void read_block(uint row, uint block) {
#ifdef TYPE_Q4_0
  const float d = scale_half(((row / 64) * p.n_steps + block) * 8, row);
  read_nibbles(row, block, 1, 0);
  [[unroll]] for (uint i = 0; i < 32; ++i) block_values[i] = d * (block_values[i] - 8.0);
#else
  const uint step = block / 8;
  const uint b = block % 8;
  const uint first = ((row / 64) * p.n_steps + step) * 64;
  const vec2 factors = q4_k_factors(first, q4_k_scales(first, row), b, row);
  read_nibbles(row, step, 8, b);
  [[unroll]] for (uint i = 0; i < 32; ++i) {
    precise const float product = factors.x * block_values[i];
    precise const float value = product - factors.y;
    block_values[i] = value;
  }
#endif
}
#elif defined(TYPE_Q6_K)
void read_block(uint row, uint block) {
  const uint step = block / 8;
  const uint chunk = block % 8 / 2;
  const uint first = ((row / 64) * p.n_steps + step) * 72;
  const float d = scale_half(first + 64, row);
  const uint scale_codes = scale_word(first + chunk * 16, row);
  uvec4 units[3];
  [[unroll]] for (uint u = 0; u < 3; ++u) units[u] = row_unit(row, step, 12, chunk * 3 + u);
  [[unroll]] for (uint half_block = 0; half_block < 2; ++half_block) {
    const uint group = block % 2 * 2 + half_block;
    const float factor = d * float(int(scale_codes << (24 - 8 * group)) >> 24);
    const uvec3 words = uvec3(units[0][group], units[1][group], units[2][group]);
    const uint e15 = (words.x >> 30) | ((words.y >> 30) << 2) | ((words.z >> 30) << 4);
    [[unroll]] for (uint e = 0; e < 16; ++e) {
      const uint code = e < 12   ? (words[min(e / 4, 2)] >> (6 * (e % 4))) & 63
                        : e < 15 ? (words[min(e - min(e, 12), 2)] >> 24) & 63
                                 : e15;
      block_values[16 * half_block + e] = factor * (float(code) - 32.0);
    }
  }
}
#elif defined(TYPE_CODED)
#define FORMAT_CONSTANT 1
#include "common/coded.glsl"

void read_block(uint row, uint block) {
  const uint n_blocks = coded_blocks(FORMAT);
  const uint step = block / n_blocks;
  const uint b = block % n_blocks;
  const uint first_high = ((row / 64) * p.n_steps + step) * coded_scale_units(FORMAT);
  const uint first = first_high + coded_high_units(FORMAT);
  const uint head = step_head(first, row);
  const uint n_units = n_blocks * coded_bits(FORMAT) / 4;
  const uvec4 unit = row_unit(row, step, n_units, b * coded_bits(FORMAT) / 4);
  const uvec2 high = high_words(first_high, b, row);
  [[unroll]] for (uint h = 0; h < 2; ++h) {
    const vec2 factors = group_factors(first, head, b, h, row);
    [[unroll]] for (uint i = 16 * h; i < 16 * h + 16; ++i) {
      const uint code = (four_codes(unit, high, b, i / 4) >> (8 * (i % 4))) & 0xff;
      precise const float product = factors.x * float(has_table() ? table_value(code) : int(code));
      precise const float value = product - factors.y;
      block_values[i] = value;
    }
  }
}
#endif
