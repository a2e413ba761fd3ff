#include "kernels/soft_rows.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/soft_rows.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"soft"}, BindingDesc{"sources"},
                               BindingDesc{"x", Access::write}};
constexpr std::array kVariants{Variant{"portable", "soft_rows"}};

}  // namespace

const graph::KernelDesc kSoftRows{"soft_rows", kBindings, sizeof(shaders::SoftRowsPush), kVariants};

void add_soft_rows(graph::Graph& graph, const Tensor& soft, const Tensor& sources, const Tensor& x,
                   std::string label) {
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2 && x.shape[1] % 4 == 0,
           "rows of a multiple of 4");
  KL_CHECK(soft.dtype == DType::f32 && soft.shape.rank() == 2 && soft.shape[1] == x.shape[1],
           "embeddings of another width");
  KL_CHECK((sources.dtype == DType::u32 && sources.shape == Shape{x.shape[0], 1}),
           "a source for each column");
  const auto width4 = static_cast<uint32_t>(x.shape[1] / 4);
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kSoftRows;
  node.variant = &graph.pick(kSoftRows);
  node.label = std::move(label);
  node.tensors = {soft, sources, x};
  node.constants = {workgroup};
  node.set_push(shaders::SoftRowsPush{width4});
  node.grid = {div_up(width4, workgroup), static_cast<uint32_t>(x.shape[0]), 1};
  node.bytes_touched = 2 * x.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
