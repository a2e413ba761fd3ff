// What the block codecs share: bytes, the tables of the non-linear types, scale packs. Byte k of a
// block is b[k], element i of the block is x[i]; all multi-byte fields are little-endian. Source:
// ggml's block definitions (ggml-common.h). For those who take blocks apart: quant.cpp,
// dequantize.cpp and quantize.cpp, and the packers of the kernels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/numeric.hpp"

namespace kimberlite::formats::blocks {

using Byte = uint8_t;

inline uint16_t load_u16(const Byte* b) { return static_cast<uint16_t>(b[0] | (b[1] << 8)); }
inline uint32_t load_u32(const Byte* b) {
  return static_cast<uint32_t>(load_u16(b)) | (static_cast<uint32_t>(load_u16(b + 2)) << 16);
}
inline void store_u16(Byte* b, uint16_t value) {
  b[0] = static_cast<Byte>(value & 0xffu);
  b[1] = static_cast<Byte>(value >> 8);
}
inline void store_u32(Byte* b, uint32_t value) {
  store_u16(b, static_cast<uint16_t>(value & 0xffffu));
  store_u16(b + 2, static_cast<uint16_t>(value >> 16));
}
inline float load_half(const Byte* b) { return half_to_float(load_u16(b)); }
/// Low (h = 0) or high (h = 1) four bits.
inline int nibble(Byte b, int h) { return (b >> (4 * h)) & 15; }

/// The values of IQ4_NL and IQ4_XS.
inline constexpr std::array<int8_t, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
/// E2M1 floats of MXFP4 and NVFP4, twice, so that they are integers; the scales are halved.
inline constexpr std::array<int8_t, 16> kFp4Values = {0, 1,  2,  3,  4,  6,  8,  12,
                                                      0, -1, -2, -3, -4, -6, -8, -12};

/// Half of an E8M0 scale: 2^(e - 128).
inline float half_e8m0(Byte e) { return std::ldexp(1.0f, static_cast<int>(e) - 128); }

/// Half of an unsigned E4M3 scale; bit 7 means nothing, 0x7f is zero.
inline float half_ue4m3(Byte e) {
  if (e == 0x7f) return 0.0f;
  const int exponent = (e >> 3) & 15;
  const int mantissa = e & 7;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -10);
  return std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

/// Where element `i` of a block of TQ1_0 lives: a byte, and its place among the byte's digits.
struct TritPlace {
  size_t byte;
  size_t digit;
};
inline TritPlace trit_place(size_t i) {
  if (i < 160) return {i % 32, i / 32};
  if (i < 240) return {32 + i % 16, (i - 160) / 16};
  return {48 + i % 4, (i - 240) / 4};
}

/// The twelve bytes `s` of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima. Groups 0 to 3
/// lie in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); groups 4 to 7 have their low
/// nibbles in bytes 8-11 and their top two bits above those six.
struct ScaleMin {
  int scale;
  int min;
};
inline ScaleMin k_scale_min(const Byte* s, int group) {
  if (group < 4) return {s[group] & 63, s[group + 4] & 63};
  const Byte low = s[group + 4];
  return {(low & 15) | ((s[group - 4] >> 6) << 4), (low >> 4) | ((s[group] >> 6) << 4)};
}

// One block each: b has block_bytes bytes, x has block_elems elements.
void dequantize_q4_0(const Byte* b, float* x);
void dequantize_q4_1(const Byte* b, float* x);
void dequantize_q5_0(const Byte* b, float* x);
void dequantize_q5_1(const Byte* b, float* x);
void dequantize_q8_0(const Byte* b, float* x);
void dequantize_q2_k(const Byte* b, float* x);
void dequantize_q3_k(const Byte* b, float* x);
void dequantize_q4_k(const Byte* b, float* x);
void dequantize_q5_k(const Byte* b, float* x);
void dequantize_q6_k(const Byte* b, float* x);
void dequantize_iq4_nl(const Byte* b, float* x);
void dequantize_iq4_xs(const Byte* b, float* x);
void dequantize_mxfp4(const Byte* b, float* x);
void dequantize_nvfp4(const Byte* b, float* x);
void dequantize_tq1_0(const Byte* b, float* x);
void dequantize_tq2_0(const Byte* b, float* x);
void dequantize_q1_0(const Byte* b, float* x);
void dequantize_q2_0(const Byte* b, float* x);

void quantize_q4_0(const float* x, Byte* b);
void quantize_q4_1(const float* x, Byte* b);
void quantize_q5_0(const float* x, Byte* b);
void quantize_q5_1(const float* x, Byte* b);
void quantize_q8_0(const float* x, Byte* b);
void quantize_q2_k(const float* x, Byte* b);
void quantize_q3_k(const float* x, Byte* b);
void quantize_q4_k(const float* x, Byte* b);
void quantize_q5_k(const float* x, Byte* b);
void quantize_q6_k(const float* x, Byte* b);
void quantize_iq4_nl(const float* x, Byte* b);
void quantize_iq4_xs(const float* x, Byte* b);
void quantize_mxfp4(const float* x, Byte* b);
void quantize_nvfp4(const float* x, Byte* b);
void quantize_tq1_0(const float* x, Byte* b);
void quantize_tq2_0(const float* x, Byte* b);
void quantize_q1_0(const float* x, Byte* b);
void quantize_q2_0(const float* x, Byte* b);

}  // namespace kimberlite::formats::blocks
