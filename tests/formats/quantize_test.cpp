// Quantisers: known bytes, blocks that are hard to scale, and for every type the distance that its
// codes leave at most.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/numeric.hpp"
#include "tests/formats/quant_support.hpp"

namespace kimberlite::formats {
namespace {

// The extreme value keeps its sign and becomes code 0, so the scale's sign is its opposite.
TEST(Quantize, Q4_0KnownBytes) {
  std::vector<float> x(32, 0.0f);
  x[0] = 8.0f;   // the extreme: d = -1, code 0
  x[1] = -8.0f;  // as large, but later: code 16 is cut to 15
  x[2] = 3.0f;   // 5.5 is cut to 5
  x[3] = 2.5f;   // exactly between: 6.0 is 6
  x[16] = -1.0f;
  const std::string b = quantize(GgmlType::q4_0, x);
  const std::vector<uint8_t> expected = {0x00, 0xbc, 0x90, 0x8f, 0x85, 0x86};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(static_cast<uint8_t>(b[i]), expected[i]) << i;
  }
  for (size_t i = 6; i < 18; ++i) EXPECT_EQ(static_cast<uint8_t>(b[i]), 0x88) << i;
}

TEST(Quantize, Q8_0KnownBytes) {
  std::vector<float> x(32, 0.0f);
  x[0] = -127.0f;  // d = 1
  x[1] = 0.5f;     // halves go away from zero
  x[2] = -0.5f;
  x[3] = 2.5f;
  x[4] = 126.4f;
  const std::string b = quantize(GgmlType::q8_0, x);
  const std::vector<uint8_t> expected = {0x00, 0x3c, 0x81, 0x01, 0xff, 0x03, 0x7e, 0x00};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(static_cast<uint8_t>(b[i]), expected[i]) << i;
  }
}

std::vector<GgmlType> block_types() {
  std::vector<GgmlType> types;
  for (const GgmlTraits& t : ggml_types()) {
    if (can_quantize(t.type) && t.block_elems > 1) types.push_back(t.type);
  }
  return types;
}

TEST(Quantize, ZeroTinyAndHostileBlocks) {
  std::vector<float> zeros(256, 0.0f), tiny(256, 1e-42f), bad(256, 1.0f), huge(256, -3e38f);
  tiny[5] = 0.0f;
  bad[3] = NAN;
  bad[4] = INFINITY;
  EXPECT_EQ(block_types().size(), 18u);
  for (const GgmlType type : block_types()) {
    for (const auto& x : {zeros, tiny}) {
      Bytes bytes;
      bytes.raw(quantize(type, x));
      for (const float back : dequantize(type, bytes, 256))
        EXPECT_EQ(back, 0.0f) << traits(type).name;
    }
    (void)quantize(type, bad);  // no undefined conversion: the sanitizer build watches this
    (void)quantize(type, huge);
  }
}

struct Reach {
  GgmlType type;
  size_t group;  // elements
  float bound;   // of the error, as a share of the largest magnitude among them
};
// Half a step between codes; at the end that has a code less, or whose table is shorter, what is
// cut off; what rounding the factor of a group to its code moves its largest code. For minima the
// step spans twice the magnitude.
constexpr Reach kReaches[] = {
    {GgmlType::q4_0, 32, 1 / 8.0f},
    {GgmlType::q8_0, 32, 0.5f / 127},
    {GgmlType::q4_1, 32, 1 / 15.0f},
    {GgmlType::q5_0, 32, 1 / 16.0f},
    {GgmlType::q5_1, 32, 1 / 31.0f},
    {GgmlType::q2_k, 256, 1 / 3.0f + 1 / 15.0f + 1 / 30.0f},
    {GgmlType::q3_k, 256, 1 / 4.0f + 1 / 64.0f + 1 / 32.0f},
    {GgmlType::q4_k, 256, 1 / 15.0f + 1 / 63.0f + 1 / 126.0f},
    {GgmlType::q5_k, 256, 1 / 31.0f + 1 / 63.0f + 1 / 126.0f},
    {GgmlType::q6_k, 256, 1 / 32.0f + 1 / 256.0f + 1 / 128.0f},
    {GgmlType::iq4_nl, 32, 14 / 127.0f},
    {GgmlType::iq4_xs, 256, 14 / 127.0f + 1 / 64.0f + 1 / 32.0f},
    {GgmlType::mxfp4, 32, 1 / 4.0f},
    {GgmlType::nvfp4, 16, 1 / 6.0f + 1 / 16.0f},
    {GgmlType::tq1_0, 256, 1 / 2.0f},
    {GgmlType::tq2_0, 256, 1 / 2.0f},
    {GgmlType::q1_0, 128, 1.0f},
    {GgmlType::q2_0, 64, 1 / 2.0f},
};

TEST(Quantize, RoundTripStaysWithinTheFormatsBound) {
  EXPECT_EQ(std::size(kReaches), block_types().size());
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(256 * 64);
  for (float& v : x) v = normal(random);
  for (const Reach& reach : kReaches) {
    SCOPED_TRACE(traits(reach.type).name);
    Bytes bytes;
    bytes.raw(quantize(reach.type, x));
    const auto back = dequantize(reach.type, bytes, x.size());
    float worst = 0.0f;
    for (size_t group = 0; group < x.size(); group += reach.group) {
      float largest = 0.0f;
      for (size_t i = group; i < group + reach.group; ++i) {
        largest = std::max(largest, std::fabs(x[i]));
      }
      for (size_t i = group; i < group + reach.group; ++i) {
        worst = std::max(worst, std::fabs(back[i] - x[i]) / largest);
      }
    }
    EXPECT_LE(worst, reach.bound + 0x1p-10f);  // scales in f16
    EXPECT_GE(worst, reach.bound / 3) << "a bound that says nothing";
  }
}

TEST(Quantize, FloatsRoundToNearestEven) {
  EXPECT_EQ(quantize(GgmlType::f16, {1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 65504.0f}),
            Bytes().u16(0x3c00).u16(0x3c02).u16(0x7bff).str());
  EXPECT_EQ(quantize(GgmlType::bf16, {1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, -2.0f}),
            Bytes().u16(0x3f80).u16(0x3f82).u16(0xc000).str());
}

}  // namespace
}  // namespace kimberlite::formats
