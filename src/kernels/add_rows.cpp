#include "kernels/add_rows.hpp"

#include <array>

#include "kernels/row_elements.hpp"
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
  for (const Tensor* tensor : {&a, &b}) {
    KL_CHECK(tensor->dtype == DType::f32 && tensor->shape == x.shape, "rows of another shape");
  }
  graph::Node node = make_element_node(graph, kAddRows, x, std::move(label));
  node.tensors = {a, b, x};
  node.set_push(shaders::AddRowsPush{count_vec4(x)});
  node.bytes_touched = 4 * x.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
