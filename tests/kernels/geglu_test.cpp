#include "kernels/geglu.hpp"

#include <cmath>
#include <numbers>

#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

struct Case {
  uint64_t n_rows;
  uint64_t width;
  float scale;
};
constexpr Case kCases[] = {{1, 1, 1.0f}, {3, 37, 2.0f}, {8, 260, 5.0f}, {2, 4099, 20.0f}};

double twice_argument(double x) {
  return 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}

/// gelu_tanh without cancellation.
double gelu(double x) { return x / (1 + std::exp(-twice_argument(x))); }

/// Four roundings in the exponent's argument, which exp turns into |argument| times as much; two
/// ulp for exp; 2.5 ulp for Vulkan's division, a sum and the last product. exp counts as far as it
/// is the larger term of 1 + e^-2u.
double tolerance(double x) {
  const double argument = twice_argument(x);
  const double share = 1 / (1 + std::exp(argument));
  return ((4 * std::abs(argument) + 4) * share + 7) * 0x1p-24;
}

class GegluTest : public testing::GpuTest {
 protected:
  std::vector<float> compute(const std::vector<float>& gate, const std::vector<float>& up,
                             Shape shape) {
    const Tensor out = poisoned(DType::f32, shape);
    Graph graph(caps_);
    add_geglu(graph, upload(gate, shape), upload(up, shape), out, shape[1], "geglu");
    run(graph);
    return download(out);
  }
};

TEST_F(GegluTest, MatchesDoublePrecision) {
  bool erf_would_show = false;
  for (const auto& [n_rows, width, scale] : kCases) {
    SCOPED_TRACE(width);
    const auto gate = random_values(n_rows * width, 1, scale);
    const auto up = random_values(n_rows * width, 2);
    const auto result = compute(gate, up, Shape{n_rows, width});
    for (size_t i = 0; i < result.size(); ++i) {
      const double expected = gelu(gate[i]) * up[i];
      // The gate is cut off where the sigmoid falls below e^-87; smaller results may be flushed.
      const double cut_off = std::abs(double{gate[i]} * up[i]) * std::exp(-87.0) + 0x1p-126;
      const double bound = std::abs(expected) * tolerance(gate[i]) + cut_off;
      ASSERT_NEAR(result[i], expected, bound) << "gate " << gate[i];
      const double erf = 0.5 * gate[i] * std::erfc(-gate[i] / std::numbers::sqrt2) * up[i];
      erf_would_show |= std::abs(erf - expected) > 100 * bound;
    }
  }
  EXPECT_TRUE(erf_would_show) << "the tolerance cannot tell the two kinds of GELU apart";
}

TEST_F(GegluTest, ExtremeGatesStayFinite) {
  const std::vector<float> gate = {-3e38f, -1e4f, -11.0f, -1e-30f, 0.0f,
                                   1e-30f, 11.0f, 1e4f,   3e38f};
  const auto result = compute(gate, std::vector<float>(9, 1.0f), Shape{1, 9});
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_NEAR(result[i],
                i < 2   ? 0.0
                : i > 5 ? gate[i]
                        : gelu(gate[i]),
                std::abs(gelu(gate[i])) * 1e-5 + 0x1p-125)
        << gate[i];
  }
}

TEST_F(GegluTest, WritesInPlace) {
  const Shape shape{3, 37};
  const auto gate = random_values(111, 3);
  const auto up = random_values(111, 4);
  const Tensor both = upload(gate, shape);
  Graph graph(caps_);
  add_geglu(graph, both, upload(up, shape), both, 37, "geglu");
  run(graph);
  EXPECT_EQ(download(both), compute(gate, up, shape));
}

TEST_F(GegluTest, TakesColumnsOfWiderRows) {
  constexpr uint64_t kWidth = 36;
  const auto both = random_values(3 * 2 * kWidth, 7, 3.0f);
  const auto other = random_values(3 * 100, 8);
  const Tensor out = poisoned(DType::f32, Shape{3, kWidth});
  Graph graph(caps_);
  const Tensor rows = upload(both, Shape{3, 2 * kWidth});
  add_geglu(graph, {rows, kWidth}, {upload(other, Shape{3, 100}), 64}, out, kWidth, "geglu");
  run(graph);
  const auto result = download(out);
  for (uint64_t row = 0; row < 3; ++row) {
    for (uint64_t i = 0; i < kWidth; ++i) {
      const float gate = both[(2 * row + 1) * kWidth + i];
      const double expected = gelu(gate) * other[row * 100 + 64 + i];
      ASSERT_NEAR(result[row * kWidth + i], expected, std::abs(expected) * tolerance(gate))
          << row << " " << i;
    }
  }
}

TEST_F(GegluTest, ColumnsDoNotDependOnTheirNumber) {
  constexpr uint64_t kWidth = 263;
  const auto gate = random_values(8 * kWidth, 5, 3.0f);
  const auto up = random_values(8 * kWidth, 6);
  const auto together = compute(gate, up, Shape{8, kWidth});
  for (size_t column = 0; column < 8; ++column) {
    const auto slice = [&](const std::vector<float>& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(column * kWidth);
      return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(kWidth));
    };
    EXPECT_EQ(compute(slice(gate), slice(up), Shape{1, kWidth}), slice(together)) << column;
  }
}

}  // namespace
}  // namespace kimberlite::kernels
