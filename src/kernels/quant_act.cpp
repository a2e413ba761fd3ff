#include "kernels/quant_act.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/quant_act.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"x_q", Access::write}};
constexpr std::array kBytesVariants{Variant{"bytes", "quant_act_bytes"}};
constexpr std::array kWordsVariants{Variant{"words", "quant_act_words"}};
constexpr graph::KernelDesc kQuantActBytes{"quant_act_bytes", kBindings,
                                           sizeof(shaders::QuantActPush), kBytesVariants};
constexpr graph::KernelDesc kQuantActWords{"quant_act_words", kBindings,
                                           sizeof(shaders::QuantActPush), kWordsVariants};

}  // namespace

const graph::KernelDesc& quant_act_kernel(LinearClass linear_class) {
  KL_CHECK(linear_class != LinearClass::f32, "float32 activations stay as they are");
  return linear_class == LinearClass::int8_swar ? kQuantActWords : kQuantActBytes;
}

uint64_t quantized_width(LinearClass linear_class, uint64_t n_cols) {
  KL_CHECK(n_cols % 32 == 0, "rows of whole blocks");
  return n_cols / 32 * (linear_class == LinearClass::int8_swar ? 36 : 12);
}

Tensor add_quant_act(graph::Graph& graph, const Tensor& x, LinearClass linear_class,
                     std::string label) {
  KL_CHECK(x.shape.rank() == 2, "x is f32 [n, n_cols]");
  const Shape shape{x.shape[0], quantized_width(linear_class, x.shape[1])};
  const Tensor x_q = graph.transient(label, DType::u32, shape);
  add_quant_act(graph, x, x_q, linear_class, std::move(label));
  return x_q;
}

void add_quant_act(graph::Graph& graph, const Tensor& x, const Tensor& x_q,
                   LinearClass linear_class, std::string label) {
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2, "x is f32 [n, n_cols]");
  const uint64_t n = x.shape[0];
  KL_CHECK(
      x_q.dtype == DType::u32 && x_q.shape == (Shape{n, quantized_width(linear_class, x.shape[1])}),
      "x_q is u32 [n, quantized_width]");
  const graph::KernelDesc& kernel = quant_act_kernel(linear_class);
  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = std::move(label);
  node.tensors = {x, x_q};
  const uint32_t workgroup = std::max(64u, graph.caps().subgroup_size);
  node.constants = {workgroup, graph.caps().subgroup_size >= 8};
  const uint64_t n_blocks = x.shape[1] / 32;
  node.set_push(shaders::QuantActPush{static_cast<uint32_t>(n_blocks), static_cast<uint32_t>(n)});
  node.grid = {static_cast<uint32_t>(div_up<uint64_t>(n * n_blocks * 8, workgroup)), 1, 1};
  node.bytes_touched = x.n_bytes + x_q.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
