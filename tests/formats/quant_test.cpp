// Blocks are packed here from known codes and scales, the reverse of what the code under test does;
// all products are small enough to be exact in float, so every comparison is for equality.
#include "formats/quant.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/numeric.hpp"
#include "tests/formats/quant_support.hpp"

namespace kimberlite::formats {
namespace {

// Element i and i + 16 share byte i % 16.
Bytes& put_nibbles(Bytes& bytes, const std::vector<int>& codes) {
  for (size_t i = 0; i < 16; ++i) {
    bytes.u8(static_cast<uint8_t>((codes[i] & 15) | ((codes[i + 16] & 15) << 4)));
  }
  return bytes;
}

uint32_t fifth_bits(const std::vector<int>& codes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(codes[i] >> 4) << i;
  return bits;
}

TEST(Dequantize, PlainFloats) {
  Bytes f32, f16, bf16;
  f32.f32(1.5f).f32(-3e38f);
  f16.u16(0x3e00).u16(0x0001).u16(0xfbff);
  bf16.u16(0x3fc0).u16(0xc2f7);
  EXPECT_EQ(dequantize(GgmlType::f32, f32, 2), (std::vector<float>{1.5f, -3e38f}));
  EXPECT_EQ(dequantize(GgmlType::f16, f16, 3), (std::vector<float>{1.5f, 0x1p-24f, -65504.0f}));
  EXPECT_EQ(dequantize(GgmlType::bf16, bf16, 2), (std::vector<float>{1.5f, -123.5f}));
}

TEST(Dequantize, BlocksOf32) {
  const std::vector<int> q4 = random_codes(32, 0, 15, 1);
  const std::vector<int> q5 = random_codes(32, 0, 31, 2);
  const std::vector<int> q8 = random_codes(32, -128, 127, 3);
  Bytes q4_0, q4_1, q5_0, q5_1, q8_0;
  put_nibbles(q4_0.u16(kHalfMinus2), q4);
  put_nibbles(q4_1.u16(kHalf0_5).u16(kHalfMinus2), q4);
  put_nibbles(q5_0.u16(kHalf0_25).u32(fifth_bits(q5)), q5);
  put_nibbles(q5_1.u16(kHalf0_25).u16(kHalf0_5).u32(fifth_bits(q5)), q5);
  q8_0.u16(kHalf0_5);
  for (const int q : q8) q8_0.u8(static_cast<uint8_t>(q));
  const auto x4_0 = dequantize(GgmlType::q4_0, q4_0, 32);
  const auto x4_1 = dequantize(GgmlType::q4_1, q4_1, 32);
  const auto x5_0 = dequantize(GgmlType::q5_0, q5_0, 32);
  const auto x5_1 = dequantize(GgmlType::q5_1, q5_1, 32);
  const auto x8_0 = dequantize(GgmlType::q8_0, q8_0, 32);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(x4_0[i], -2.0f * static_cast<float>(q4[i] - 8)) << i;
    EXPECT_EQ(x4_1[i], 0.5f * static_cast<float>(q4[i]) - 2.0f) << i;
    EXPECT_EQ(x5_0[i], 0.25f * static_cast<float>(q5[i] - 16)) << i;
    EXPECT_EQ(x5_1[i], 0.25f * static_cast<float>(q5[i]) + 0.5f) << i;
    EXPECT_EQ(x8_0[i], 0.5f * static_cast<float>(q8[i])) << i;
  }
}

// The twelve bytes that hold eight 6-bit scales and eight 6-bit minima.
Bytes& put_k_scales(Bytes& bytes, const std::vector<int>& scale, const std::vector<int>& min) {
  for (size_t j = 0; j < 4; ++j)
    bytes.u8(static_cast<uint8_t>(scale[j] | ((scale[j + 4] >> 4) << 6)));
  for (size_t j = 0; j < 4; ++j) bytes.u8(static_cast<uint8_t>(min[j] | ((min[j + 4] >> 4) << 6)));
  for (size_t j = 4; j < 8; ++j)
    bytes.u8(static_cast<uint8_t>((scale[j] & 15) | ((min[j] & 15) << 4)));
  return bytes;
}

// Elements 64 p + l and 64 p + 32 + l share byte 32 p + l.
Bytes& put_k_nibbles(Bytes& bytes, const std::vector<int>& q) {
  for (size_t p = 0; p < 4; ++p) {
    for (size_t l = 0; l < 32; ++l) {
      bytes.u8(static_cast<uint8_t>((q[64 * p + l] & 15) | ((q[64 * p + 32 + l] & 15) << 4)));
    }
  }
  return bytes;
}

TEST(Dequantize, Q4_K) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto q = random_codes(256, 0, 15, seed);
    const auto scale = random_codes(8, 0, 63, seed + 100);
    const auto min = random_codes(8, 0, 63, seed + 200);
    Bytes block;
    put_k_nibbles(put_k_scales(block.u16(kHalf0_5).u16(kHalf0_25), scale, min), q);
    const auto x = dequantize(GgmlType::q4_k, block, 256);
    for (size_t i = 0; i < 256; ++i) {
      const float expected =
          0.5f * static_cast<float>(scale[i / 32] * q[i]) - 0.25f * static_cast<float>(min[i / 32]);
      ASSERT_EQ(x[i], expected) << "seed " << seed << " element " << i;
    }
  }
}

TEST(Dequantize, Q5_K) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto q = random_codes(256, 0, 31, seed);
    const auto scale = random_codes(8, 0, 63, seed + 100);
    const auto min = random_codes(8, 0, 63, seed + 200);
    Bytes block;
    put_k_scales(block.u16(kHalf0_5).u16(kHalfMinus2), scale, min);
    for (size_t l = 0; l < 32; ++l) {
      int high = 0;
      for (size_t group = 0; group < 8; ++group) high |= (q[32 * group + l] >> 4) << group;
      block.u8(static_cast<uint8_t>(high));
    }
    put_k_nibbles(block, q);
    const auto x = dequantize(GgmlType::q5_k, block, 256);
    for (size_t i = 0; i < 256; ++i) {
      const float expected =
          0.5f * static_cast<float>(scale[i / 32] * q[i]) + 2.0f * static_cast<float>(min[i / 32]);
      ASSERT_EQ(x[i], expected) << "seed " << seed << " element " << i;
    }
  }
}

TEST(Dequantize, Q6_K) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto q = random_codes(256, -32, 31, seed);
    const auto scale = random_codes(16, -128, 127, seed + 100);
    std::vector<uint8_t> low(128), high(64);
    for (size_t i = 0; i < 256; ++i) {
      const auto code = static_cast<uint32_t>(q[i] + 32);
      const size_t half = i / 128, quarter = i % 128 / 32, l = i % 32;
      // Quarters 0 and 2 share bytes 0-31 of the half, quarters 1 and 3 bytes 32-63.
      const uint32_t nibble = (code & 15u) << (quarter >= 2 ? 4 : 0);
      uint8_t& low_byte = low[64 * half + 32 * (quarter % 2) + l];
      low_byte = static_cast<uint8_t>(low_byte | nibble);
      uint8_t& high_byte = high[32 * half + l];
      high_byte = static_cast<uint8_t>(high_byte | ((code >> 4) << (2 * quarter)));
    }
    Bytes block;
    for (const uint8_t b : low) block.u8(b);
    for (const uint8_t b : high) block.u8(b);
    for (const int s : scale) block.u8(static_cast<uint8_t>(s));
    block.u16(kHalf0_25);
    const auto x = dequantize(GgmlType::q6_k, block, 256);
    for (size_t i = 0; i < 256; ++i) {
      ASSERT_EQ(x[i], 0.25f * static_cast<float>(scale[i / 16] * q[i]))
          << "seed " << seed << " element " << i;
    }
  }
}

// Blocks of a row lie where ggml_type.hpp says: a row is its blocks, one by one.
TEST(Dequantize, RowsAreBlocksInOrder) {
  std::mt19937 random(11);
  for (const GgmlTraits& t : ggml_types()) {
    if (!can_dequantize(t.type)) continue;
    Bytes row;
    for (uint32_t i = 0; i < 3 * t.block_bytes; ++i) row.u8(static_cast<uint8_t>(random() & 0x3fu));
    const std::vector<float> whole = dequantize(t.type, row, 3 * t.block_elems);
    for (uint32_t i = 0; i < 3; ++i) {
      Bytes block;
      block.raw(row.str().substr(i * t.block_bytes, t.block_bytes));
      const std::vector<float> alone = dequantize(t.type, block, t.block_elems);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), whole.begin() + i * t.block_elems))
          << t.name << " block " << i;
    }
  }
}

// Blocks of random bytes are finite once their halves are, and NaN in any half is NaN in a value.
TEST(Dequantize, HalvesAreWhereTheySay) {
  std::mt19937 random(12);
  for (const GgmlTraits& t : ggml_types()) {
    if (!can_dequantize(t.type) || t.block_elems == 1) continue;
    for (size_t broken = 0; broken <= half_offsets(t.type).size(); ++broken) {
      std::string block(t.block_bytes, '\0');
      for (char& c : block) c = static_cast<char>(random());
      if (t.type == GgmlType::mxfp4) block[0] = 100;
      for (size_t i = 0; i < half_offsets(t.type).size(); ++i) {
        block.replace(half_offsets(t.type)[i], 2, i == broken ? "\x01\x7e" : "\x01\x3c");
      }
      const std::vector<float> x = dequantize(t.type, Bytes().raw(block), t.block_elems);
      const bool has_nan = std::ranges::any_of(x, [](float v) { return std::isnan(v); });
      EXPECT_EQ(has_nan, broken < half_offsets(t.type).size()) << t.name << " half " << broken;
    }
  }
}

TEST(Quantize, SaysWhatItCanDo) {
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q3_k, GgmlType::nvfp4, GgmlType::tq1_0}) {
    EXPECT_TRUE(can_dequantize(type) && can_quantize(type)) << traits(type).name;
  }
  for (const GgmlType type : {GgmlType::iq2_xxs, GgmlType::iq1_m, GgmlType::q8_1, GgmlType::i32}) {
    EXPECT_FALSE(can_dequantize(type) || can_quantize(type)) << traits(type).name;
  }
}

}  // namespace
}  // namespace kimberlite::formats
