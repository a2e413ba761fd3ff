#include "kernels/add_rows.hpp"

#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::Graph;
using graph::Shape;
using graph::Tensor;

class AddRowsTest : public testing::GpuTest {};

TEST_F(AddRowsTest, AddsTheSumOfTheTwo) {
  for_each_variant(kAddRows, [&](const graph::VariantPolicy& policy) {
    for (const uint32_t width : {4u, 36u, 1152u}) {
      constexpr uint64_t kRows = 5;
      const Shape shape{kRows, width};
      const auto x = random_values(kRows * width, 1);
      const auto a = random_values(kRows * width, 2);
      const auto b = random_values(kRows * width, 3);
      const Tensor sum = upload(x, shape);
      Graph graph(caps_, &policy);
      add_add_rows(graph, upload(a, shape), upload(b, shape), sum, "add");
      run(graph);
      const auto result = download(sum);
      for (size_t i = 0; i < result.size(); ++i) {
        const float added = a[i] + b[i];
        ASSERT_EQ(result[i], x[i] + added) << width << " " << i;
      }
    }
  });
}

}  // namespace
}  // namespace kimberlite::kernels
