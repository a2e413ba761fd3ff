#include "kernels/silu.hpp"

#include <array>

#include "kernels/row_elements.hpp"
#include "shaders/silu.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"y", Access::write}};
constexpr std::array kVariants{Variant{"portable", "silu"}};

}  // namespace

const graph::KernelDesc kSilu{"silu", kBindings, sizeof(shaders::SiluPush), kVariants};

void add_silu(graph::Graph& graph, const Tensor& x, const Tensor& y, std::string label) {
  KL_CHECK(y.dtype == DType::f32 && y.shape == x.shape, "results of another shape");
  graph::Node node = make_element_node(graph, kSilu, x, std::move(label));
  node.tensors = {x, y};
  node.set_push(shaders::SiluPush{count_vec4(x)});
  node.bytes_touched = x.n_bytes + y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
