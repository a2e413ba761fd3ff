// The types of less than five bits a weight: super-blocks of two and three bits, tables, ternary.
// Blocks are packed here from known codes and scales; products are exact in float, so every
// comparison is for equality.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/formats/quant_support.hpp"

namespace kimberlite::formats {
namespace {

constexpr float kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr float kE2m1[] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                           -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

uint8_t byte(int value) { return static_cast<uint8_t>(value); }

// Elements 128 h + 32 k + l, k = 0 .. 3, share byte 32 h + l.
Bytes& put_two_bits(Bytes& bytes, const std::vector<int>& q) {
  for (size_t h = 0; h < 2; ++h) {
    for (size_t l = 0; l < 32; ++l) {
      int value = 0;
      for (size_t k = 0; k < 4; ++k) value |= (q[128 * h + 32 * k + l] & 3) << (2 * k);
      bytes.u8(byte(value));
    }
  }
  return bytes;
}

TEST(Dequantize, Q2_K) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto q = random_codes(256, 0, 3, seed);
    const auto scale = random_codes(16, 0, 15, seed + 100);
    const auto min = random_codes(16, 0, 15, seed + 200);
    Bytes block;
    for (size_t j = 0; j < 16; ++j) block.u8(byte(scale[j] | (min[j] << 4)));
    put_two_bits(block, q).u16(kHalf0_5).u16(kHalfMinus2);
    const auto x = dequantize(GgmlType::q2_k, block, 256);
    for (size_t i = 0; i < 256; ++i) {
      const float expected =
          0.5f * static_cast<float>(scale[i / 16] * q[i]) + 2.0f * static_cast<float>(min[i / 16]);
      ASSERT_EQ(x[i], expected) << "seed " << seed << " element " << i;
    }
  }
}

TEST(Dequantize, Q3_K) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto q = random_codes(256, -4, 3, seed);
    const auto scale = random_codes(16, -32, 31, seed + 100);
    Bytes block;
    for (size_t l = 0; l < 32; ++l) {
      int mask = 0;  // a clear bit subtracts four
      for (size_t group = 0; group < 8; ++group) mask |= (q[32 * group + l] >= 0 ? 1 : 0) << group;
      block.u8(byte(mask));
    }
    std::vector<int> low(q);
    for (int& code : low) code = code >= 0 ? code : code + 4;
    put_two_bits(block, low);
    for (size_t j = 0; j < 8; ++j) {
      block.u8(byte(((scale[j] + 32) & 15) | (((scale[j + 8] + 32) & 15) << 4)));
    }
    for (size_t j = 0; j < 4; ++j) {
      int top = 0;
      for (size_t k = 0; k < 4; ++k) top |= ((scale[4 * k + j] + 32) >> 4) << (2 * k);
      block.u8(byte(top));
    }
    block.u16(kHalf0_25);
    const auto x = dequantize(GgmlType::q3_k, block, 256);
    for (size_t i = 0; i < 256; ++i) {
      ASSERT_EQ(x[i], 0.25f * static_cast<float>(scale[i / 16] * q[i]))
          << "seed " << seed << " element " << i;
    }
  }
}

TEST(Dequantize, Iq4) {
  const auto q = random_codes(256, 0, 15, 1);
  const auto scale = random_codes(8, -32, 31, 2);
  Bytes nl, xs;
  nl.u16(kHalfMinus2);
  for (size_t i = 0; i < 16; ++i) nl.u8(byte(q[i] | (q[i + 16] << 4)));
  int scales_h = 0;
  for (size_t g = 0; g < 8; ++g) scales_h |= ((scale[g] + 32) >> 4) << (2 * g);
  xs.u16(kHalf0_5).u16(static_cast<uint16_t>(scales_h));
  for (size_t g = 0; g < 8; g += 2) {
    xs.u8(byte(((scale[g] + 32) & 15) | (((scale[g + 1] + 32) & 15) << 4)));
  }
  for (size_t g = 0; g < 8; ++g) {
    for (size_t i = 32 * g; i < 32 * g + 16; ++i) xs.u8(byte(q[i] | (q[i + 16] << 4)));
  }
  const auto x_nl = dequantize(GgmlType::iq4_nl, nl, 32);
  const auto x_xs = dequantize(GgmlType::iq4_xs, xs, 256);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(x_nl[i], -2.0f * kIq4[q[i]]) << i;
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(x_xs[i], 0.5f * static_cast<float>(scale[i / 32]) * kIq4[q[i]]) << i;
  }
}

TEST(Dequantize, Mxfp4) {
  const auto q = random_codes(32, 0, 15, 3);
  for (const int exponent : {0, 1, 2, 120, 127, 131, 254}) {
    Bytes block;
    block.u8(byte(exponent));
    for (size_t i = 0; i < 16; ++i) block.u8(byte(q[i] | (q[i + 16] << 4)));
    const auto x = dequantize(GgmlType::mxfp4, block, 32);
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(x[i], std::ldexp(kE2m1[q[i]], exponent - 127)) << exponent << " " << i;
    }
  }
}

// Scales: subnormal, the smallest normal, 1, the largest, not a number; bit 7 means nothing.
TEST(Dequantize, Nvfp4) {
  const std::vector<std::pair<int, float>> scales = {
      {0x00, 0.0f},   {0x01, 0x1p-9f}, {0x07, 7 * 0x1p-9f}, {0x08, 0x1p-6f}, {0x38, 1.0f},
      {0x3d, 1.625f}, {0x7e, 448.0f},  {0x7f, 0.0f},        {0xb8, 1.0f}};
  const auto q = random_codes(64, 0, 15, 4);
  for (size_t first = 0; first < scales.size(); ++first) {
    const auto scale = [&](size_t s) { return scales[(first + s) % scales.size()]; };
    Bytes block;
    for (size_t s = 0; s < 4; ++s) block.u8(byte(scale(s).first));
    for (size_t s = 0; s < 4; ++s) {
      for (size_t i = 16 * s; i < 16 * s + 8; ++i) block.u8(byte(q[i] | (q[i + 8] << 4)));
    }
    const auto x = dequantize(GgmlType::nvfp4, block, 64);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(x[i], scale(i / 16).second * kE2m1[q[i]]) << first << " " << i;
    }
  }
}

TEST(Dequantize, Ternary) {
  const auto q = random_codes(256, -1, 1, 5);
  Bytes two_bits, trits;
  std::vector<int> codes(q);
  for (int& code : codes) ++code;
  put_two_bits(two_bits, codes).u16(kHalf0_5);
  // A number of n digits in base 3, most significant first, as the first byte at or above its
  // fraction of 256.
  const auto put_trits = [&](std::initializer_list<size_t> elements) {
    int number = 0;
    for (const size_t i : elements) number = 3 * number + codes[i];
    if (elements.size() == 4) number *= 3;
    trits.u8(byte(static_cast<int>(std::ceil(number * 256.0 / 243.0))));
  };
  for (size_t k = 0; k < 32; ++k) put_trits({k, k + 32, k + 64, k + 96, k + 128});
  for (size_t k = 160; k < 176; ++k) put_trits({k, k + 16, k + 32, k + 48, k + 64});
  for (size_t k = 240; k < 244; ++k) put_trits({k, k + 4, k + 8, k + 12});
  trits.u16(kHalf0_5);
  const auto x2 = dequantize(GgmlType::tq2_0, two_bits, 256);
  const auto x1 = dequantize(GgmlType::tq1_0, trits, 256);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(x2[i], 0.5f * static_cast<float>(q[i])) << i;
    EXPECT_EQ(x1[i], 0.5f * static_cast<float>(q[i])) << i;
  }
}

TEST(Dequantize, OneAndTwoBits) {
  const auto signs = random_codes(128, 0, 1, 6);
  const auto q = random_codes(64, 0, 3, 7);
  Bytes one, two;
  one.u16(kHalf0_25);
  for (size_t k = 0; k < 16; ++k) {
    int bits = 0;
    for (size_t i = 0; i < 8; ++i) bits |= signs[8 * k + i] << i;
    one.u8(byte(bits));
  }
  two.u16(kHalfMinus2);
  for (size_t k = 0; k < 16; ++k) {
    two.u8(byte(q[4 * k] | (q[4 * k + 1] << 2) | (q[4 * k + 2] << 4) | (q[4 * k + 3] << 6)));
  }
  const auto x1 = dequantize(GgmlType::q1_0, one, 128);
  const auto x2 = dequantize(GgmlType::q2_0, two, 64);
  for (size_t i = 0; i < 128; ++i) EXPECT_EQ(x1[i], signs[i] != 0 ? 0.25f : -0.25f) << i;
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(x2[i], -2.0f * static_cast<float>(q[i] - 1)) << i;
}

}  // namespace
}  // namespace kimberlite::formats
