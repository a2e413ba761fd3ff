// Formats that one module of matvec.comp or embed.comp computes with, told apart by a
// specialisation constant: codes of 1, 2 or 4 bits, for some one or two higher bits in a plane of
// their own, and for each group of 32 or 16 elements a scale and a minimum:
//
//   weight = scale * value(code) - min        value: the code itself, or its entry in a table
//
// Layout of a step: src/kernels/packed_matrix.hpp. Shared by GLSL and C++.
#ifndef KL_CODED_H
#define KL_CODED_H
#include "types.h"
#ifdef __cplusplus
#define KL_CODED_FUNCTION constexpr
#else
#define KL_CODED_FUNCTION
#endif
KL_STRUCTS_BEGIN

const u32 kFormatQ4_1 = 0;
const u32 kFormatQ5_0 = 1;
const u32 kFormatQ5_1 = 2;
const u32 kFormatIq4Nl = 3;
const u32 kFormatMxfp4 = 4;
const u32 kFormatNvfp4 = 5;
const u32 kFormatQ2_0 = 6;
const u32 kFormatQ1_0 = 7;
const u32 kFormatQ5_K = 8;
const u32 kFormatIq4Xs = 9;
const u32 kFormatQ6_K = 10;  // of class int8_dot; float32 has a layout of its own
const u32 kFormatQ2_K = 11;
const u32 kFormatQ3_K = 12;
const u32 kFormatTernary = 13;  // TQ2_0, and TQ1_0 with its digits in two bits each

// Blocks of 32 elements in a step.
KL_CODED_FUNCTION u32 coded_blocks(u32 format) {
  if (format >= kFormatQ5_K) return 8;
  if (format == kFormatQ1_0) return 4;
  return format >= kFormatNvfp4 ? 2 : 1;
}

// Of a code in the units: 1, 2 or 4.
KL_CODED_FUNCTION u32 coded_bits(u32 format) {
  if (format == kFormatQ1_0) return 1;
  return format == kFormatQ2_0 || format >= kFormatQ2_K ? 2 : 4;
}

// More bits of a code, in a word of its own for each block, or in two for each.
KL_CODED_FUNCTION u32 coded_high_bits(u32 format) {
  if (format == kFormatQ6_K) return 2;
  const bool has_one = format == kFormatQ5_0 || format == kFormatQ5_1 || format == kFormatQ5_K ||
                       format == kFormatQ3_K;
  return has_one ? 1 : 0;
}

// What codes of types without a minimum are too large by; 0 for the others.
KL_CODED_FUNCTION u32 coded_bias(u32 format) {
  if (format == kFormatQ6_K) return 32;
  if (format == kFormatQ5_0) return 16;
  return format == kFormatQ3_K ? 4 : 0;
}

KL_CODED_FUNCTION bool coded_is_iq4(u32 format) {
  return format == kFormatIq4Nl || format == kFormatIq4Xs;
}
KL_CODED_FUNCTION bool coded_is_fp4(u32 format) {
  return format == kFormatMxfp4 || format == kFormatNvfp4;
}

// Scales for every 16 elements, not 32.
KL_CODED_FUNCTION bool coded_has_small_groups(u32 format) {
  return format == kFormatNvfp4 || format == kFormatQ2_K || format == kFormatQ3_K ||
         format == kFormatQ6_K;
}

// A minimum that no bias stands for.
KL_CODED_FUNCTION bool coded_has_least(u32 format) {
  return !coded_is_iq4(format) && !coded_is_fp4(format) && coded_bias(format) == 0;
}

// Units of a panel's step that the words of high bits take, before the scales.
KL_CODED_FUNCTION u32 coded_high_units(u32 format) {
  return 16 * coded_blocks(format) * coded_high_bits(format);
}

// Units of a panel's step: those, and for each of 64 rows ...
KL_CODED_FUNCTION u32 coded_scale_units(u32 format) {
  u32 n_bytes = 2;                                                              // d
  if (format == kFormatMxfp4) n_bytes = 1;                                      // e8m0
  if (format == kFormatNvfp4) n_bytes = 4;                                      // 4 ue4m3
  if (format == kFormatQ4_1 || format == kFormatQ5_1) n_bytes = 4;              // d, m
  if (format == kFormatIq4Xs) n_bytes = 8;                                      // d, 8 of 6 bits
  if (format == kFormatQ5_K) n_bytes = 16;                                      // as Q4_K
  if (format == kFormatQ6_K) n_bytes = 18;                                      // 16 int8, d
  if (format == kFormatQ2_K) n_bytes = 20;                                      // 16 bytes, d, dmin
  if (format == kFormatQ3_K) n_bytes = 14;                                      // 16 of 6 bits, d
  return coded_high_units(format) + 4 * n_bytes;
}

KL_STRUCTS_END
#endif
