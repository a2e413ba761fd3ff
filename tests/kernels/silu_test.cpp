#include "kernels/silu.hpp"

#include "kernels/conformer_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

class SiluTest : public testing::GpuTest {
 protected:
  static void expect(const std::vector<float>& x, const std::vector<float>& y) {
    const reference::Expected expected = reference::silu(x);
    ASSERT_EQ(y.size(), x.size());
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], expected.values[i], expected.bounds[i]) << i << ": " << x[i];
    }
  }
};

TEST_F(SiluTest, MatchesDoublePrecision) {
  for_each_variant(kSilu, [&](const graph::VariantPolicy& policy) {
    for (const uint64_t width : {4u, 36u, 1028u}) {
      const Shape shape{3, width};
      const std::vector<float> x = random_values(shape.n_elements(), 1, 3.0f);
      const Tensor y = poisoned(DType::f32, shape);
      Graph graph(caps_, &policy);
      add_silu(graph, upload(x, shape), y, "silu");
      run(graph);
      expect(x, download(y));
    }
  });
}

/// In place, and where the exponential leaves what float32 holds.
TEST_F(SiluTest, EndsAreExact) {
  const std::vector<float> x{0.0f, -0.0f, 88.0f, -88.0f, 200.0f, -200.0f, 3e38f, -3e38f};
  const Tensor both = upload(x, Shape{1, x.size()});
  Graph graph(caps_);
  add_silu(graph, both, both, "silu");
  run(graph);
  expect(x, download(both));
}

}  // namespace
}  // namespace kimberlite::kernels
