#include "kernels/quant_act.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/common/outputs.h"
#include "shaders/quant_act.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"y_q", Access::write}};
constexpr std::array kVariants{Variant{"portable", "quant_act"}};

uint32_t code_output(LinearClass linear_class) {
  KL_CHECK(linear_class != LinearClass::f32, "float32 activations stay as they are");
  return linear_class == LinearClass::int8_swar ? shaders::kWords : shaders::kBytes;
}

}  // namespace

const graph::KernelDesc kQuantAct{"quant_act", kBindings, sizeof(shaders::QuantActPush), kVariants};

uint64_t quantized_width(LinearClass linear_class, uint64_t n_cols) {
  KL_CHECK(n_cols % 32 == 0, "rows of whole blocks");
  return n_cols / 32 * (linear_class == LinearClass::int8_swar ? 36 : 12);
}

bool can_round_rows(const vk::Caps& caps, uint64_t width) {
  return width % 32 == 0 && caps.subgroup_size >= 8;
}

uint32_t ActivationRows::outputs() const {
  return (f32.valid() ? shaders::kFloats : 0) | (rounded.valid() ? code_output(rounding) : 0);
}

void check_activation_rows(const ActivationRows& rows, const vk::Caps& caps, uint64_t n,
                           uint64_t width) {
  KL_CHECK(rows.f32.valid() || rows.rounded.valid(), "rows that nobody wants");
  if (rows.f32.valid()) {
    KL_CHECK(rows.f32.dtype == DType::f32 && rows.f32.shape == (Shape{n, width}),
             "rows are f32 [n, width]");
  }
  if (!rows.rounded.valid()) return;
  KL_CHECK(can_round_rows(caps, width), "rows that cannot be rounded in place");
  const Shape shape{n, quantized_width(rows.rounding, width)};
  KL_CHECK(rows.rounded.dtype == DType::u32 && rows.rounded.shape == shape,
           "rounded rows are u32 [n, quantized_width]");
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
  graph::Node node;
  node.kernel = &kQuantAct;
  node.variant = &graph.pick(kQuantAct);
  node.label = std::move(label);
  node.tensors = {x, x_q};
  const uint32_t workgroup = std::max(64u, graph.caps().subgroup_size);
  node.constants = {workgroup, graph.caps().subgroup_size >= 8, code_output(linear_class)};
  const uint64_t n_blocks = x.shape[1] / 32;
  node.set_push(shaders::QuantActPush{static_cast<uint32_t>(n_blocks), static_cast<uint32_t>(n)});
  node.grid = {static_cast<uint32_t>(div_up<uint64_t>(n * n_blocks * 8, workgroup)), 1, 1};
  node.bytes_touched = x.n_bytes + x_q.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
