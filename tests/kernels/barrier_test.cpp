// Barriers are derived from declared access, and synchronisation validation sees whether they are
// there: a graph with one of them left out must be reported.
#include "kernels/geglu.hpp"
#include "kernels/rms_norm.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

class BarrierTest : public testing::GpuTest {
 protected:
  /// norm -> norm -> gate: two dependencies through scratch memory.
  Graph chain() {
    constexpr uint64_t kWidth = 64;
    const Shape shape{2, kWidth};
    const Tensor weight = upload(random_values(kWidth, 1), Shape{kWidth});
    Graph graph(caps_);
    const Tensor a = graph.transient("a", DType::f32, shape);
    const Tensor b = graph.transient("b", DType::f32, shape);
    add_rms_norm(graph, upload(random_values(2 * kWidth, 2), shape), weight, a, 1e-6f, "first");
    add_rms_norm(graph, a, weight, b, 1e-6f, "second");
    add_geglu(graph, a, b, poisoned(DType::f32, shape), "third");
    return graph;
  }
};

TEST_F(BarrierTest, ACompleteGraphIsClean) {
  run(chain());
  EXPECT_TRUE(take_messages().empty());
}

TEST_F(BarrierTest, EveryMissingBarrierIsReported) {
  if (!gpu_.validated) GTEST_SKIP() << "needs VK_LAYER_KHRONOS_validation";
  for (uint32_t barrier = 0; barrier < 2; ++barrier) {
    graph::ExecutableOptions options;
    options.omit_barrier = barrier;
    run(chain(), options);
    const auto messages = take_messages();
    ASSERT_FALSE(messages.empty()) << "barrier " << barrier;
    EXPECT_NE(messages[0].find("SYNC-HAZARD"), std::string::npos) << messages[0];
  }
}

}  // namespace
}  // namespace kimberlite::kernels
