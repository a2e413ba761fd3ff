#include "kernels/clip.hpp"

#include <algorithm>

#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ClipTest : public testing::GpuTest {
 protected:
  void expect(const std::vector<float>& x, uint64_t width, const Bounds& bounds,
              const std::vector<float>& y) {
    ASSERT_EQ(y.size(), x.size());
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(y[i], std::min(std::max(x[i], bounds.low), bounds.high)) << width << " " << i;
    }
  }
};

TEST_F(ClipTest, KeepsValuesBetweenTheBounds) {
  constexpr Bounds kCases[] = {{-0.5f, 0.25f},          {-kInfinity, 0.125f}, {-0.75f, kInfinity},
                               {-kInfinity, kInfinity}, {0.0f, 0.0f},         {0.5f, -0.5f}};
  for_each_variant(kClip, [&](const graph::VariantPolicy& policy) {
    for (const uint64_t width : {4u, 36u, 1028u, 4304u}) {
      for (const Bounds& bounds : kCases) {
        constexpr uint64_t kRows = 3;
        const Shape shape{kRows, width};
        const std::vector<float> x = random_values(kRows * width, 1);
        const Tensor y = poisoned(DType::f32, shape);
        Graph graph(caps_, &policy);
        add_clip(graph, upload(x, shape), y, bounds, "clip");
        run(graph);
        expect(x, width, bounds, download(y));
      }
    }
  });
}

TEST_F(ClipTest, WritesInPlace) {
  const Shape shape{5, 260};
  const std::vector<float> x = random_values(shape.n_elements(), 2);
  const Tensor both = upload(x, shape);
  Graph graph(caps_);
  add_clip(graph, both, both, {-0.25f, 1.0f}, "clip");
  run(graph);
  expect(x, 260, {-0.25f, 1.0f}, download(both));
}

TEST(Bounds, AreOpenWhereNothingLiesOutside) {
  EXPECT_TRUE(Bounds{}.are_open());
  EXPECT_FALSE((Bounds{-kInfinity, 3.0f}.are_open()));
  EXPECT_FALSE((Bounds{-3.0f, kInfinity}.are_open()));
}

}  // namespace
}  // namespace kimberlite::kernels
