#include "kernels/add_rows.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/add_rows.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"a"}, BindingDesc{"b"},
                               BindingDesc{"x", Access::read_write}};
constexpr std::array kVariants{Variant{"portable", "add_rows"}};

}  // namespace

const graph::KernelDesc kAddRows{"add_rows", kBindings, sizeof(shaders::AddRowsPush), kVariants};

void add_add_rows(graph::Graph& graph, const Tensor& a, const Tensor& b, const Tensor& x,
                  std::string label) {
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2 && x.shape[1] % 4 == 0,
           "rows of a multiple of 4");
  for (const Tensor* tensor : {&a, &b}) {
    KL_CHECK(tensor->dtype == DType::f32 && tensor->shape == x.shape, "rows of another shape");
  }
  const auto width4 = static_cast<uint32_t>(x.shape[1] / 4);
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kAddRows;
  node.variant = &graph.pick(kAddRows);
  node.label = std::move(label);
  node.tensors = {a, b, x};
  node.constants = {workgroup};
  node.set_push(shaders::AddRowsPush{width4});
  node.grid = {div_up(width4, workgroup), static_cast<uint32_t>(x.shape[0]), 1};
  node.bytes_touched = 4 * x.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
