#include "kernels/mac_rate.hpp"

#include <bit>
#include <cmath>

#include "shaders/mac_rate.h"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr uint32_t kInvocations = 1024 + 128;  // starts come round

/// y[i], where chains start as `start(s)`.
template <typename Value, typename Start, typename Mac>
Value expected(uint32_t i, uint32_t n_rounds, Start start, Value b, Mac mac) {
  Value sum{};
  for (uint32_t k = 0; k < shaders::kMacChains; ++k) {
    Value c = start((i + k) % 1024);
    for (uint32_t step = 0; step < n_rounds * shaders::kMacUnrolled; ++step) c = mac(c, b);
    sum = k == 0 ? c : mac(c, sum);
  }
  return sum;
}

class MacRateTest : public testing::GpuTest {
 protected:
  std::vector<uint32_t> run_class(LinearClass linear_class, uint32_t a, uint32_t b,
                                  uint32_t n_rounds, const graph::VariantPolicy* policy) {
    const Tensor operands = upload(std::vector<uint32_t>{a, b}, Shape{2});
    const Tensor y = poisoned(DType::u32, Shape{kInvocations});
    Graph graph(caps_, policy);
    add_mac_rate(graph, linear_class, operands, y, n_rounds, "mac_rate");
    run(graph);
    return download_u32(y);
  }
};

/// A step rounds once or twice below 4, 2 * 2^-23, and keeps 0.9 of what was wrong before: 20 of
/// 2^-23 in the end, in each of eight chains; their sums round below 32. A step more or less is
/// 0.9^48 off at least, a hundred times that.
TEST_F(MacRateTest, FloatsMatchDoublePrecision) {
  constexpr float kA = -0.9f;
  constexpr float kB = 1.25f;
  const auto start = [](uint32_t s) { return 1 + s / 1024.0; };
  const auto mac = [](double c, double b) { return c * double{kA} + b; };
  for_each_variant(kMacRate, [&](const graph::VariantPolicy& policy) {
    for (const uint32_t n_rounds : {0u, 1u, 3u}) {
      const std::vector<uint32_t> y = run_class(LinearClass::f32, std::bit_cast<uint32_t>(kA),
                                                std::bit_cast<uint32_t>(kB), n_rounds, &policy);
      for (uint32_t i = 0; i < kInvocations; ++i) {
        ASSERT_NEAR(std::bit_cast<float>(y[i]), expected(i, n_rounds, start, double{kB}, mac),
                    64 * 0x1p-22)
            << i << ", " << n_rounds;
      }
    }
  });
}

TEST_F(MacRateTest, IntegersAreExact) {
  constexpr uint32_t kA = 0xfd0281f7;  // bytes of both signs
  constexpr uint32_t kB = 0x01020304;
  const auto start = [](uint32_t s) { return s; };
  const auto dot = [](uint32_t c, uint32_t b) {
    int32_t sum = 0;
    for (uint32_t shift = 0; shift < 32; shift += 8) {
      sum += static_cast<int8_t>(c >> shift) * static_cast<int8_t>(kA >> shift);
    }
    return static_cast<uint32_t>(sum) + b;
  };
  const auto multiply = [](uint32_t c, uint32_t b) { return c * kA + b; };
  for (const LinearClass linear_class : {LinearClass::int8_dot, LinearClass::int8_swar}) {
    const bool is_dot = linear_class == LinearClass::int8_dot;
    for_each_variant(mac_rate_kernel(linear_class), [&](const graph::VariantPolicy& policy) {
      const auto& variant = graph::pick_variant(mac_rate_kernel(linear_class), caps_, &policy);
      if (variant.name == "matrix") return;  // has other steps
      const std::vector<uint32_t> y = run_class(linear_class, kA, kB, 2, &policy);
      for (uint32_t i = 0; i < kInvocations; ++i) {
        ASSERT_EQ(y[i],
                  is_dot ? expected(i, 2, start, kB, dot) : expected(i, 2, start, kB, multiply))
            << i;
      }
    });
  }
}

TEST_F(MacRateTest, MatricesAreExact) {
  if (caps_.int8_matrix.m == 0) GTEST_SKIP() << "no cooperative matrices of int8";
  caps_.is_cpu = false;
  constexpr uint32_t kA = 0x123456f7, kB = 0x01020364;  // first bytes -9 and 100
  const auto y = run_class(LinearClass::int8_dot, kA, kB, 3, nullptr);
  const auto added = -9 * 100 * static_cast<int32_t>(caps_.int8_matrix.k);
  int32_t expected = 0;
  for (uint32_t k = 0; k < shaders::kMacChains; ++k) {
    expected += static_cast<int32_t>(k) + 3 * static_cast<int32_t>(shaders::kMacUnrolled) * added;
  }
  for (const uint32_t value : y) ASSERT_EQ(static_cast<int32_t>(value), expected);
}

TEST(MacRate, CountsWhatProductsDo) {
  constexpr uint64_t kSteps = uint64_t{shaders::kMacUnrolled} * shaders::kMacChains;
  vk::Caps caps;
  EXPECT_EQ(count_macs(LinearClass::f32, caps, 64, 3), 64 * 3 * kSteps);
  EXPECT_EQ(count_macs(LinearClass::int8_swar, caps, 64, 3), 2 * 64 * 3 * kSteps);
  EXPECT_EQ(count_macs(LinearClass::int8_dot, caps, 64, 3), 4 * 64 * 3 * kSteps);
  caps.int8_matrix = {16, 8, 32};
  caps.matrix_subgroup_size = 32;
  EXPECT_EQ(count_macs(LinearClass::int8_dot, caps, 64, 3), 128 * 64 * 3 * kSteps);
}

}  // namespace
}  // namespace kimberlite::kernels
