#include "kernels/light_conv.hpp"

#include <algorithm>

#include "kernels/conformer_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;

struct Case {
  uint64_t n;
  uint64_t width;
};
constexpr Case kCases[] = {{1, 4}, {3, 36}, {9, 96}, {6, 1028}};
constexpr float kEps = 1e-6f;

class LightConvTest : public testing::GpuTest {
 protected:
  void make(const Case& one) {
    shape_ = one;
    x_ = random_values(one.n * 2 * one.width, 1, 2.0f);
    taps_ = random_values(shaders::kLightTaps * one.width, 2, 0.5f);
    weight_ = random_values(one.width, 3);
  }
  [[nodiscard]] Expected expected() const {
    return reference::light_conv(x_, taps_, weight_, kEps);
  }
  std::vector<float> compute(const graph::VariantPolicy& policy) {
    const Tensor y = poisoned(DType::f32, Shape{shape_.n, shape_.width});
    Graph graph(caps_, &policy);
    add_light_conv(graph,
                   {.x = upload(x_, Shape{shape_.n, 2 * shape_.width}),
                    .taps = upload(taps_, Shape{shaders::kLightTaps, shape_.width}),
                    .weight = upload(weight_, Shape{shape_.width}),
                    .y = y,
                    .eps = kEps},
                   "conv");
    run(graph);
    return download(y);
  }

  Case shape_{};
  std::vector<float> x_, taps_, weight_;
};

TEST_F(LightConvTest, MatchesDoublePrecision) {
  for_each_variant(kLightConv, [&](const graph::VariantPolicy& policy) {
    for (const Case& one : kCases) {
      SCOPED_TRACE(one.width);
      make(one);
      const Expected right = expected();
      const std::vector<float> y = compute(policy);
      ASSERT_EQ(y.size(), right.values.size());
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], right.values[i], right.bounds[i]) << i;
      }
    }
  });
}

/// A row depends on those before it alone.
TEST_F(LightConvTest, IsCausal) {
  for_each_variant(kLightConv, [&](const graph::VariantPolicy& policy) {
    make({7, 36});
    std::vector<float> before = compute(policy);
    std::fill(x_.begin() + 5 * 72, x_.end(), 1e6f);
    std::vector<float> after = compute(policy);
    before.resize(5 * 36);
    after.resize(5 * 36);
    EXPECT_EQ(after, before);
  });
}

/// The bounds must see taps in the reverse order, and values and gates swapped.
TEST_F(LightConvTest, TheBoundsSeeMutations) {
  make({6, 96});
  const Expected right = expected();
  const auto moved = [&] {
    const Expected wrong = expected();
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(wrong.values[i] - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  for (uint64_t j = 0; j < shaders::kLightTaps / 2; ++j) {
    std::swap_ranges(taps_.begin() + static_cast<std::ptrdiff_t>(j * 96),
                     taps_.begin() + static_cast<std::ptrdiff_t>((j + 1) * 96),
                     taps_.end() - static_cast<std::ptrdiff_t>((j + 1) * 96));
  }
  EXPECT_GT(moved(), 10);
  make({6, 96});
  for (auto row = x_.begin(); row != x_.end(); row += 192) {
    std::swap_ranges(row, row + 96, row + 96);
  }
  EXPECT_GT(moved(), 10);
}

}  // namespace
}  // namespace kimberlite::kernels
