#include "kernels/layer_norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;
using reference::LayerNormArgs;

struct Case {
  uint64_t n_rows;
  uint64_t width;
};
constexpr Case kCases[] = {{1, 4}, {3, 36}, {8, 96}, {2, 1028}, {5, 3840}, {1, 6912}};
constexpr float kEps = 1e-5f;

enum class Added { nothing, shift, rows };
enum class Bias { some, none };

class LayerNormTest : public testing::GpuTest {
 protected:
  /// Rows with a mean far from zero, as those of a picture's patches have.
  void make_rows(uint64_t n_rows, uint64_t width, Added added) {
    x_ = random_values(n_rows * width, 1, 0.3f);
    for (float& value : x_) value += 0.6f;
    weight_ = random_values(width, 2);
    bias_ = random_values(width, 3);
    shift_ = added == Added::shift ? random_values(width, 4) : std::vector<float>();
    a_ = added == Added::rows ? random_values(n_rows * width, 5) : std::vector<float>();
    b_ = added == Added::rows ? random_values(n_rows * width, 6) : std::vector<float>();
  }
  [[nodiscard]] LayerNormArgs args() const { return {x_, shift_, a_, b_, weight_, bias_, kEps}; }

  std::vector<float> compute(const graph::VariantPolicy& policy, uint64_t first, uint64_t n) {
    const uint64_t width = weight_.size();
    const Shape shape{n, width};
    const auto rows = [&](const std::vector<float>& all) {
      if (all.empty()) return Tensor{};
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * width);
      return upload(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n * width)),
                    shape);
    };
    const Tensor y = poisoned(DType::f32, shape);
    Graph graph(caps_, &policy);
    add_layer_norm(graph,
                   {.x = rows(x_),
                    .shift = shift_.empty() ? Tensor{} : upload(shift_, Shape{width}),
                    .a = rows(a_),
                    .b = rows(b_),
                    .weight = upload(weight_, Shape{width}),
                    .bias = bias_.empty() ? Tensor{} : upload(bias_, Shape{width}),
                    .y = y,
                    .eps = kEps},
                   "norm");
    run(graph);
    return download(y);
  }

  std::vector<float> x_, weight_, bias_, shift_, a_, b_;
};

TEST_F(LayerNormTest, MatchesDoublePrecision) {
  for_each_variant(kLayerNorm, [&](const graph::VariantPolicy& policy) {
    for (const auto& [n_rows, width] : kCases) {
      for (const Added added : {Added::nothing, Added::shift, Added::rows}) {
        for (const Bias bias : {Bias::some, Bias::none}) {
          SCOPED_TRACE(std::to_string(width) + " " + std::to_string(static_cast<int>(added)));
          make_rows(n_rows, width, added);
          if (bias == Bias::none) bias_.clear();
          const Expected expected = reference::layer_norm(args());
          const std::vector<float> y = compute(policy, 0, n_rows);
          for (size_t i = 0; i < y.size(); ++i) {
            ASSERT_NEAR(y[i], expected.values[i], expected.bounds[i]) << i;
          }
        }
      }
    }
  });
}

/// A black patch: no variance, and nothing but the bias comes out.
TEST_F(LayerNormTest, ARowOfEqualValuesIsTheBias) {
  for_each_variant(kLayerNorm, [&](const graph::VariantPolicy& policy) {
    make_rows(1, 96, Added::nothing);
    std::ranges::fill(x_, 0.0f);
    EXPECT_EQ(compute(policy, 0, 1), bias_);
  });
}

TEST_F(LayerNormTest, RowsDoNotDependOnTheirNumber) {
  for_each_variant(kLayerNorm, [&](const graph::VariantPolicy& policy) {
    make_rows(8, 96, Added::rows);
    const std::vector<float> together = compute(policy, 0, 8);
    for (uint64_t row = 0; row < 8; ++row) {
      const std::vector<float> alone = compute(policy, row, 1);
      for (size_t i = 0; i < 96; ++i) ASSERT_EQ(alone[i], together[row * 96 + i]);
    }
  });
}

/// The bounds must see another epsilon, the mean left in, and the variance of a sample.
TEST_F(LayerNormTest, TheBoundsSeeMutations) {
  make_rows(1, 3840, Added::shift);
  const Expected right = reference::layer_norm(args());
  const auto largest_ratio = [&](const auto& value_of) {
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(value_of(i) - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  LayerNormArgs other = args();
  other.eps = 1e-3f;
  const Expected eps = reference::layer_norm(other);
  EXPECT_GT(largest_ratio([&](size_t i) { return eps.values[i]; }), 10);
  const double sample = std::sqrt(3839.0 / 3840.0);
  EXPECT_GT(
      largest_ratio([&](size_t i) { return (right.values[i] - bias_[i]) * sample + bias_[i]; }),
      10);
  EXPECT_GT(largest_ratio([&](size_t i) { return right.values[i] + 0.1 * weight_[i]; }), 10);
}

}  // namespace
}  // namespace kimberlite::kernels
