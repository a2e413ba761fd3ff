// Codes and scales of the formats in coded.h, for products and gathers.
//
// Includer: defines FORMAT_CONSTANT, the id of the specialisation constant; declares the wide
// binding `scales` and scale_word, scale_half and scale_byte (first unit, row).
#include "common/coded.h"
#include "common/q4_k_scales.glsl"

layout(constant_id = FORMAT_CONSTANT) const uint FORMAT = 0;

// The words of high bits of block b, of the planes from unit `first` of the scales on.
uvec2 high_words(uint first, uint b, uint row) {
  const uint at = first + b * coded_high_bits(FORMAT) * 16;
  if (coded_high_bits(FORMAT) == 0) return uvec2(0);
  return uvec2(scale_word(at, row), coded_high_bits(FORMAT) == 2 ? scale_word(at + 16, row) : 0);
}

// Four codes, a byte each: elements 4j .. 4j + 3 of block b, from the unit that has them and the
// block's words of high bits. Byte i of a word has in bit j the one of element 4j + i; where there
// are two, bits 2 (j % 4) of byte i of word j / 4 are the two of element 4j + i.
//   4 bits: byte 4 (j % 4) + i of the unit, low nibbles j < 4
//   2 bits: two words a block; bits 2 (j % 4) of byte i of word j / 4
//   1 bit:  one word a block, as that of high bits
uint four_codes(uvec4 unit, uvec2 high, uint b, uint j) {
  if (coded_bits(FORMAT) == 1) return (unit[b & 3] >> j) & 0x01010101;
  if (coded_bits(FORMAT) == 2) {
    const uint word = (b & 1) != 0 ? unit[2 + j / 4] : unit[j / 4];
    const uint codes = (word >> (2 * (j & 3))) & 0x03030303;
    if (coded_high_bits(FORMAT) == 0) return codes;
    return codes | ((j < 2 ? high.x << (2 - j) : high.x >> (j - 2)) & 0x04040404);
  }
  const uint codes = (j < 4 ? unit[j & 3] : unit[j & 3] >> 4) & 0x0f0f0f0f;
  if (coded_high_bits(FORMAT) == 0) return codes;
  if (coded_high_bits(FORMAT) == 2) {
    const uint pairs = high[j / 4], at = 2 * (j & 3);
    return codes | ((at < 4 ? pairs << (4 - at) : pairs >> (at - 4)) & 0x30303030);
  }
  return codes | ((j < 4 ? high.x << (4 - j) : high.x >> (j - 4)) & 0x10101010);
}

bool has_table() { return coded_is_iq4(FORMAT) || coded_is_fp4(FORMAT); }

// Entry `code` of the format's table: 16 int8 in four words, picked by compares, because a table in
// memory costs a gather for each weight. E2M1 is doubled, so that its values are integers.
int table_value(uint code) {
  const uvec4 iq4 = uvec4(0xbfad9881, 0xf6eaddcf, 0x26190d01, 0x71594535);
  const uvec4 fp4 = uvec4(0x03020100, 0x0c080604, 0xfdfeff00, 0xf4f8fafc);
  const uvec4 table = coded_is_iq4(FORMAT) ? iq4 : fp4;
  const uvec2 half_table = (code & 8) != 0 ? table.zw : table.xy;
  const uint word = (code & 4) != 0 ? half_table.y : half_table.x;
  return int(word << (8 * (~code & 3))) >> 24;
}

// Four codes to the entries of the table.
uint table_bytes(uint codes) {
  return uint(table_value(codes & 15) & 0xff) | uint(table_value(codes >> 8 & 15) & 0xff) << 8 |
         uint(table_value(codes >> 16 & 15) & 0xff) << 16 | uint(table_value(codes >> 24)) << 24;
}

// 2^(e - 128): half of an E8M0 scale, the other half of the doubled table.
float half_e8m0(uint e) { return uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23); }

// Half of an unsigned E4M3 scale; bit 7 means nothing, 0x7f is zero.
float half_ue4m3(uint e) {
  if (e == 0x7f) return 0.0;
  const float normal = uintBitsToFloat(((e & 0x7f) << 20) + (119u << 23));
  precise const float subnormal = float(e & 7) * 9.765625e-4;  // 2^-10
  return (e & 0x78) != 0 ? normal : subnormal;
}

// What all groups of a row's step share, of its scales from unit `first` on.
uint step_head(uint first, uint row) {
  if (FORMAT == kFormatQ5_K) return q4_k_scales(first, row);
  if (FORMAT == kFormatQ2_K) return scale_word(first + 64, row);
  if (FORMAT == kFormatQ3_K) return floatBitsToUint(scale_half(first + 48, row));
  if (FORMAT == kFormatQ6_K) return floatBitsToUint(scale_half(first + 64, row));
  if (FORMAT == kFormatIq4Xs) return scale_word(first, row);
  return 0;
}

// Codes that are too large by a bias are codes with a minimum.
vec2 biased_factors(float scale) {
  precise const float least = float(coded_bias(FORMAT)) * scale;
  return vec2(scale, least);
}

// (scale, min) of half h of block b; formats with groups of 32 have one for both halves.
vec2 group_factors(uint first, uint head, uint b, uint h, uint row) {
  if (FORMAT == kFormatQ5_K) return q4_k_factors(first, head, b, row);
  if (FORMAT == kFormatQ2_K) {
    const uint code = scale_word(first + (b >> 1) * 16, row) >> ((b & 1) * 16 + h * 8);
    precise const vec2 factors = unpackHalf2x16(head) * vec2(code & 15, (code >> 4) & 15);
    return factors;
  }
  if (FORMAT == kFormatQ3_K) {
    const uint at = (b & 1) * 16 + h * 8;
    const uint low = scale_word(first + (b >> 1 & 1) * 16, row) >> (at + (b >> 2) * 4) & 15;
    const uint high = scale_word(first + 32, row) >> (at + (b >> 1) * 2) & 3;
    precise const float scale = uintBitsToFloat(head) * (float(low | high << 4) - 32.0);
    return biased_factors(scale);
  }
  if (FORMAT == kFormatQ6_K) {
    const uint codes = scale_word(first + (b >> 1) * 16, row);
    precise const float scale =
        uintBitsToFloat(head) * float(int(codes << (24 - (b & 1) * 16 - h * 8)) >> 24);
    return biased_factors(scale);
  }
  if (FORMAT == kFormatIq4Xs) {
    const uint low = scale_word(first + 16, row) >> (b * 4) & 15;
    const uint high = head >> (16 + b * 2) & 3;
    precise const float scale = unpackHalf2x16(head).x * (float(low | high << 4) - 32.0);
    return vec2(scale, 0.0);
  }
  if (FORMAT == kFormatNvfp4) {
    return vec2(half_ue4m3(scale_word(first, row) >> (b * 16 + h * 8) & 0xff), 0.0);
  }
  if (FORMAT == kFormatMxfp4) return vec2(half_e8m0(scale_byte(first, row)), 0.0);
  if (FORMAT == kFormatQ4_1 || FORMAT == kFormatQ5_1) {
    const vec2 d_m = unpackHalf2x16(scale_word(first, row));
    return vec2(d_m.x, -d_m.y);
  }
  const float d = scale_half(first, row);
  if (coded_bias(FORMAT) != 0) return biased_factors(d);
  precise const vec2 factors =
      FORMAT == kFormatQ1_0 ? vec2(2.0 * d, d) : vec2(d, has_table() ? 0.0 : d);
  return factors;
}
