#include "kernels/rope_2d.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/tower_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;

constexpr double kTheta = 100;
constexpr uint32_t kPlaces = 3360;  // patches on the longest side of a picture of 1,120 tokens

struct Case {
  uint64_t n;
  uint64_t n_heads;
  uint32_t head_dim;
};
constexpr Case kCases[] = {{1, 1, 8}, {5, 12, 64}, {3, 16, 72}, {2, 3, 128}, {4, 2, 20}};

class Rope2dTest : public testing::GpuTest {
 protected:
  void make(const Case& c) {
    x_ = random_values(c.n * c.n_heads * c.head_dim, 1, 3.0f);
    weight_ = random_values(c.head_dim, 2);
    places_.clear();
    for (uint32_t i = 0; i < c.n; ++i) {
      places_.insert(places_.end(), {i == 0 ? kPlaces - 1 : 7 * i, 3 * i});
    }
  }
  [[nodiscard]] reference::Rope2dArgs args(const Case& c, bool rotates) const {
    return {.x = x_,
            .weight = weight_,
            .places = rotates ? std::span<const uint32_t>(places_) : std::span<const uint32_t>(),
            .n_heads = c.n_heads,
            .theta = kTheta};
  }
  std::vector<float> compute(const Case& c, bool rotates, const graph::VariantPolicy* policy) {
    const Tensor x = upload(x_, Shape{c.n, c.n_heads * c.head_dim});
    Rope2d rope{.x = x, .weight = upload(weight_, Shape{c.head_dim})};
    if (rotates) {
      rope.places = upload(places_, Shape{c.n, 2});
      rope.table =
          upload(make_rope_2d_table(kPlaces, c.head_dim, kTheta), Shape{kPlaces, c.head_dim / 2});
    }
    Graph graph(caps_, policy);
    add_rope_2d(graph, rope, "rope");
    run(graph);
    return download(x);
  }

  std::vector<float> x_, weight_;
  std::vector<uint32_t> places_;
};

TEST_F(Rope2dTest, MatchesDoublePrecision) {
  for_each_variant(kRope2d, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : kCases) {
      for (const bool rotates : {true, false}) {
        SCOPED_TRACE(std::to_string(c.head_dim) + (rotates ? " turned" : ""));
        make(c);
        const Expected expected = reference::rope_2d(args(c, rotates));
        const std::vector<float> y = compute(c, rotates, &policy);
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_NEAR(y[i], expected.values[i], expected.bounds[i]) << i;
        }
      }
    }
  });
}

/// The bounds must see columns taken for rows, halves that rotate as one head, and another theta.
TEST_F(Rope2dTest, TheBoundsSeeMutations) {
  const Case c{4, 2, 72};
  make(c);
  const Expected right = reference::rope_2d(args(c, true));
  const auto ratio = [&](const Expected& other) {
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(other.values[i] - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  std::vector<uint32_t> swapped = places_;
  for (size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  reference::Rope2dArgs other = args(c, true);
  other.places = swapped;
  EXPECT_GT(ratio(reference::rope_2d(other)), 1000);
  other = args(c, true);
  other.theta = 10000;
  EXPECT_GT(ratio(reference::rope_2d(other)), 1000);
  other = args(c, true);
  other.eps = 1e-3f;
  EXPECT_GT(ratio(reference::rope_2d(other)), 10);
}

}  // namespace
}  // namespace kimberlite::kernels
