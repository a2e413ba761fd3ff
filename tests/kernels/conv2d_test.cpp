#include "kernels/conv2d.hpp"

#include <algorithm>

#include "kernels/conformer_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Conv2dArgs;
using reference::Expected;

struct Case {
  uint64_t n_in;
  uint64_t n_frames;  // that count
  uint64_t width;
  uint64_t c_in;
  uint64_t c_out;
};
/// The two of Gemma 4 E2B, shortened, and odd ones.
constexpr Case kCases[] = {
    {8, 5, 128, 1, 128}, {6, 6, 64, 128, 32}, {2, 1, 2, 3, 4}, {10, 3, 6, 2, 36}, {4, 0, 8, 4, 8}};
constexpr float kEps = 1e-6f;

class Conv2dTest : public testing::GpuTest {
 protected:
  void make(const Case& one) {
    shape_ = one;
    x_ = random_values(one.n_in * one.width * one.c_in, 1);
    taps_ = random_values(9 * one.c_in * one.c_out, 2, 0.2f);
    weight_ = random_values(one.c_out, 3);
  }
  [[nodiscard]] Conv2dArgs args() const {
    return {x_, shape_.n_frames, shape_.width, taps_, weight_, shape_.n_in / 2, kEps};
  }
  std::vector<float> compute(const graph::VariantPolicy& policy) {
    const Tensor y = poisoned(DType::f32, Shape{shape_.n_in / 2, shape_.width / 2, shape_.c_out});
    const std::vector<uint32_t> sizes{99, static_cast<uint32_t>(shape_.n_frames)};
    Graph graph(caps_, &policy);
    add_conv2d(graph,
               {.x = upload(x_, Shape{shape_.n_in, shape_.width, shape_.c_in}),
                .sizes = upload(sizes, Shape{2}),
                .size_index = 1,
                .taps = upload(taps_, Shape{9, shape_.c_in, shape_.c_out}),
                .weight = upload(weight_, Shape{shape_.c_out}),
                .y = y,
                .eps = kEps},
               "conv");
    run(graph);
    return download(y);
  }

  Case shape_{};
  std::vector<float> x_, taps_, weight_;
};

TEST_F(Conv2dTest, MatchesDoublePrecision) {
  for_each_variant(kConv2d, [&](const graph::VariantPolicy& policy) {
    for (const Case& one : kCases) {
      SCOPED_TRACE(std::to_string(one.c_in) + " to " + std::to_string(one.c_out));
      make(one);
      const Expected expected = reference::conv2d(args());
      const std::vector<float> y = compute(policy);
      ASSERT_EQ(y.size(), expected.values.size());
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], expected.values[i], expected.bounds[i]) << i;
      }
    }
  });
}

/// What stands behind the frames that count is not read.
TEST_F(Conv2dTest, LaterFramesAreSilent) {
  for_each_variant(kConv2d, [&](const graph::VariantPolicy& policy) {
    make(kCases[0]);
    const std::vector<float> before = compute(policy);
    const auto end = x_.begin() + static_cast<std::ptrdiff_t>(5 * 128);
    std::fill(end, x_.end(), NAN);
    EXPECT_EQ(compute(policy), before);
  });
}

/// The bounds must see one frame more, another epsilon, and axes of the taps swapped.
TEST_F(Conv2dTest, TheBoundsSeeMutations) {
  make({6, 5, 8, 4, 8});
  const Expected right = reference::conv2d(args());
  const auto moved = [&](const Conv2dArgs& other) {
    const Expected wrong = reference::conv2d(other);
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(wrong.values[i] - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  Conv2dArgs other = args();
  other.n_frames = 6;
  EXPECT_GT(moved(other), 10);
  other = args();
  other.eps = 1e-4f;
  EXPECT_GT(moved(other), 10);
  std::vector<float> turned = taps_;
  for (size_t i = 0; i < taps_.size(); ++i) {
    const size_t place = i / 32;
    turned[(place % 3 * 3 + place / 3) * 32 + i % 32] = taps_[i];
  }
  other = args();
  other.taps = turned;
  EXPECT_GT(moved(other), 10);
}

}  // namespace
}  // namespace kimberlite::kernels
