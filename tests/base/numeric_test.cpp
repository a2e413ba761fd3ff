#include "base/numeric.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "base/size_text.hpp"

namespace kimberlite {
namespace {

TEST(Numeric, NumbersAmongBytesAtAnyAlignment) {
  std::array<std::byte, 16> bytes{};
  store(bytes.data() + 3, uint32_t{0x01020304});
  EXPECT_EQ(bytes[3], std::byte{4});
  EXPECT_EQ(load<uint32_t>(bytes.data() + 3), 0x01020304u);
  EXPECT_EQ(load<uint16_t>(bytes.data() + 5), 0x0102);
  store(bytes.data() + 7, -1.5);
  EXPECT_EQ(load<double>(bytes.data() + 7), -1.5);
}

TEST(Numeric, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half) << bits;
    }
  }
}

TEST(Numeric, HalfRoundsToNearestEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);      // tie goes to even
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);  // tie goes to even
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(0x1p-25f), 0);  // tie at half the smallest
  EXPECT_EQ(float_to_half(0x1.8p-24f), 2);
  EXPECT_EQ(float_to_half(-0x1p-24f), 0x8001);
}

TEST(Numeric, BfloatRoundsToNearestEven) {
  EXPECT_EQ(float_to_bfloat(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(float_to_bfloat(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_EQ(bfloat_to_float(0xc040), -3.0f);
}

TEST(Numeric, CheckedArithmeticRefusesToWrap) {
  EXPECT_EQ(checked_mul(1ull << 32, 1ull << 31), 1ull << 63);
  EXPECT_FALSE(checked_mul(1ull << 32, 1ull << 32));
  EXPECT_EQ(checked_mul(0, UINT64_MAX), 0u);
  EXPECT_FALSE(checked_add(UINT64_MAX, 1));
  EXPECT_EQ(checked_align_up(33, 32), 64u);
  EXPECT_FALSE(checked_align_up(UINT64_MAX - 3, 32));
}

TEST(SizeText, PowersOfTen) {
  EXPECT_EQ(size_text(0), "0.0 MB");
  EXPECT_EQ(size_text(512'340'000), "512.3 MB");
  EXPECT_EQ(size_text(999'999'999), "1000.0 MB");
  EXPECT_EQ(size_text(6'730'000'000), "6.73 GB");
}

}  // namespace
}  // namespace kimberlite
