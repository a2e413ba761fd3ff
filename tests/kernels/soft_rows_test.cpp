#include "kernels/soft_rows.hpp"

#include "shaders/soft_rows.h"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::Graph;
using graph::Shape;
using graph::Tensor;

class SoftRowsTest : public testing::GpuTest {};

TEST_F(SoftRowsTest, ReplacesTheRowsThatHaveASource) {
  for_each_variant(kSoftRows, [&](const graph::VariantPolicy& policy) {
    for (const uint64_t width : {4u, 36u, 1028u}) {
      SCOPED_TRACE(width);
      constexpr uint64_t kRows = 11;
      const std::vector<float> before = random_values(kRows * width, 1);
      const std::vector<float> soft = random_values(kRows * width, 2);
      std::vector<uint32_t> sources(kRows, shaders::kNoSource);
      sources[0] = 3;
      sources[5] = 0;
      sources[10] = 10;
      const Tensor x = upload(before, Shape{kRows, width});
      Graph graph(caps_, &policy);
      add_soft_rows(graph, upload(soft, Shape{kRows, width}), upload(sources, Shape{kRows, 1}), x,
                    "soft");
      run(graph);
      const std::vector<float> after = download(x);
      for (uint64_t i = 0; i < after.size(); ++i) {
        const uint32_t source = sources[i / width];
        const float expected =
            source == shaders::kNoSource ? before[i] : soft[source * width + i % width];
        ASSERT_EQ(after[i], expected) << i;
      }
    }
  });
}

}  // namespace
}  // namespace kimberlite::kernels
