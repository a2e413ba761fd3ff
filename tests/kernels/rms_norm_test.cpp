#include "kernels/rms_norm.hpp"

#include <cmath>

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
};
constexpr Case kCases[] = {{1, 4}, {3, 36}, {8, 96}, {2, 1028}, {5, 3840}};
constexpr float kEps = 1e-6f;

/// sqrt of the mean square, in double.
double rms(const float* row, uint64_t width) {
  double sum = 0;
  for (uint64_t i = 0; i < width; ++i) sum += double{row[i]} * row[i];
  return std::sqrt(sum / static_cast<double>(width) + double{kEps});
}

/// Relative error of a normed value: the sum of `width` positive terms is off by at most width/2
/// roundings in the worst case, sqrt(width) in practice for any summation order; plus division,
/// square root and two products.
double tolerance(uint64_t width) { return (4.0 + std::sqrt(static_cast<double>(width))) * 0x1p-24; }

class RmsNormTest : public testing::GpuTest {};

TEST_F(RmsNormTest, MatchesDoublePrecision) {
  for_each_variant(kRmsNorm, [&](const graph::VariantPolicy& policy) {
    for (const auto& [n_rows, width] : kCases) {
      SCOPED_TRACE(width);
      const auto x = random_values(n_rows * width, 1, 3.0f);
      const auto weight = random_values(width, 2);
      const Tensor y = poisoned(DType::f32, Shape{n_rows, width});
      Graph graph(caps_, &policy);
      add_rms_norm(graph, upload(x, Shape{n_rows, width}), upload(weight, Shape{width}), y, kEps,
                   "norm");
      run(graph);
      const auto result = download(y);
      for (uint64_t i = 0; i < result.size(); ++i) {
        const uint64_t row = i / width;
        const double expected = x[i] / rms(&x[row * width], width) * weight[i % width];
        ASSERT_NEAR(result[i], expected, std::abs(expected) * tolerance(width) + 1e-30) << i;
      }
    }
  });
}

TEST_F(RmsNormTest, ARowOfZerosStaysZero) {
  for_each_variant(kRmsNorm, [&](const graph::VariantPolicy& policy) {
    const Tensor y = poisoned(DType::f32, Shape{1, 32});
    Graph graph(caps_, &policy);
    add_rms_norm(graph, upload(std::vector<float>(32), Shape{1, 32}),
                 upload(std::vector<float>(32, 2.0f), Shape{32}), y, kEps, "norm");
    run(graph);
    EXPECT_EQ(download(y), std::vector<float>(32));
  });
}

TEST_F(RmsNormTest, ResidualNormMatchesDoublePrecision) {
  for_each_variant(kResidualNorm, [&](const graph::VariantPolicy& policy) {
    for (const auto& [n_rows, width] : kCases) {
      SCOPED_TRACE(width);
      const Shape shape{n_rows, width};
      const auto delta = random_values(n_rows * width, 3, 0.7f);
      const auto x0 = random_values(n_rows * width, 4, 3.0f);
      const auto post = random_values(width, 5);
      const auto next = random_values(width, 6);
      constexpr float kScale = 0.053f;
      const Tensor x = upload(x0, shape);
      const Tensor y = poisoned(DType::f32, shape);
      Graph graph(caps_, &policy);
      add_residual_norm(graph,
                        {.delta = upload(delta, shape),
                         .post = upload(post, Shape{width}),
                         .x = x,
                         .next = upload(next, Shape{width}),
                         .y = y,
                         .scale = kScale,
                         .eps = kEps},
                        "seam");
      run(graph);
      const auto new_x = download(x);
      const auto result = download(y);
      for (uint64_t i = 0; i < result.size(); ++i) {
        const uint64_t row = i / width;
        const double normed = delta[i] / rms(&delta[row * width], width) * post[i % width];
        const double expected_x = (x0[i] + normed) * double{kScale};
        const double terms = (std::abs(x0[i]) + std::abs(normed)) * double{kScale};
        ASSERT_NEAR(new_x[i], expected_x, terms * (tolerance(width) + 2 * 0x1p-24)) << i;
        const double expected = new_x[i] / rms(&new_x[row * width], width) * next[i % width];
        ASSERT_NEAR(result[i], expected, std::abs(expected) * tolerance(width) + 1e-30) << i;
      }
    }
  });
}

TEST_F(RmsNormTest, ResidualPlainMatchesDoublePrecision) {
  for_each_variant(kResidualPlain, [&](const graph::VariantPolicy& policy) {
    for (const auto& [n_rows, width] : kCases) {
      const Shape shape{n_rows, width};
      const auto delta = random_values(n_rows * width, 31, 0.7f);
      const auto x0 = random_values(n_rows * width, 32, 3.0f);
      const auto next = random_values(width, 33);
      const Tensor x = upload(x0, shape);
      const Tensor y = poisoned(DType::f32, shape);
      Graph graph(caps_, &policy);
      add_residual_norm(graph,
                        {.delta = upload(delta, shape),
                         .x = x,
                         .next = upload(next, Shape{width}),
                         .y = y,
                         .eps = kEps},
                        "seam");
      run(graph);
      const auto new_x = download(x);
      const auto result = download(y);
      for (uint64_t i = 0; i < result.size(); ++i) {
        ASSERT_EQ(new_x[i], x0[i] + delta[i]) << i;
        const double expected = new_x[i] / rms(&new_x[i / width * width], width) * next[i % width];
        ASSERT_NEAR(result[i], expected, std::abs(expected) * tolerance(width) + 1e-30) << i;
      }
    }
  });
}

/// The variant that `policy` picks for the sum alone is that of the whole seam as well: another may
/// add the squares in another order.
class SeamsAlike : public graph::VariantPolicy {
 public:
  explicit SeamsAlike(const graph::VariantPolicy& policy) : policy_(policy) {}
  bool allows(std::string_view /*kernel*/, std::string_view variant) const override {
    return policy_.allows(kResidualAdd.name, variant);
  }

 private:
  const graph::VariantPolicy& policy_;  // Borrowed from for_each_variant.
};

TEST_F(RmsNormTest, ResidualAddIsTheSeamWithoutItsNorm) {
  for_each_variant(kResidualAdd, [&](const graph::VariantPolicy& sum) {
    const SeamsAlike policy(sum);
    constexpr uint64_t kWidth = 96;
    const Shape shape{5, kWidth};
    const auto x0 = random_values(5 * kWidth, 21, 3.0f);
    const Tensor delta = upload(random_values(5 * kWidth, 22), shape);
    const Tensor post = upload(random_values(kWidth, 23), Shape{kWidth});
    const Tensor x = upload(x0, shape);
    const Tensor added = upload(x0, shape);
    const Tensor y = poisoned(DType::f32, shape);
    Graph graph(caps_, &policy);
    add_residual_norm(graph, {delta, post, x, post, y, 0.5f, kEps}, "seam");
    add_residual_norm(graph, {.delta = delta, .post = post, .x = added, .scale = 0.5f, .eps = kEps},
                      "add");
    run(graph);
    EXPECT_EQ(download(added), download(x));
    EXPECT_NE(download(added), x0);
  });
}

TEST_F(RmsNormTest, ColumnsDoNotDependOnTheirNumber) {
  for_each_variant(kResidualNorm, [&](const graph::VariantPolicy& policy) {
    constexpr uint64_t kWidth = 96;
    const auto delta = random_values(8 * kWidth, 7);
    const auto x0 = random_values(8 * kWidth, 8);
    const Tensor post = upload(random_values(kWidth, 9), Shape{kWidth});
    const auto compute = [&](uint64_t first, uint64_t n) {
      const auto slice = [&](const std::vector<float>& all) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * kWidth);
        return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n * kWidth));
      };
      const Shape shape{n, kWidth};
      const Tensor y = poisoned(DType::f32, shape);
      Graph graph(caps_, &policy);
      add_residual_norm(
          graph, {upload(slice(delta), shape), post, upload(slice(x0), shape), post, y, 0.5f, kEps},
          "seam");
      run(graph);
      return download(y);
    };
    const auto together = compute(0, 8);
    for (uint64_t column = 0; column < 8; ++column) {
      const auto alone = compute(column, 1);
      for (uint64_t i = 0; i < kWidth; ++i) ASSERT_EQ(alone[i], together[column * kWidth + i]);
    }
  });
}

}  // namespace
}  // namespace kimberlite::kernels
