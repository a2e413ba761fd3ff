#include "kernels/layer_norm.hpp"

#include <array>

#include "kernels/row_workgroup.hpp"
#include "shaders/layer_norm.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"},
                               BindingDesc{"shift"},
                               BindingDesc{"a"},
                               BindingDesc{"b"},
                               BindingDesc{"weight"},
                               BindingDesc{"bias"},
                               BindingDesc{"y", Access::write}};
constexpr std::array kVariants{Variant{"workgroup", "layer_norm_workgroup", has_workgroup_rows},
                               Variant{"portable", "layer_norm"}};

/// kAdded of the shader.
enum Added : uint32_t { kNothing = 0, kShift = 1, kByRow = 2 };

void check(const Tensor& tensor, const Shape& shape) {
  KL_CHECK(tensor.dtype == DType::f32 && tensor.shape == shape, "a layer norm of other shapes");
}

}  // namespace

const graph::KernelDesc kLayerNorm{"layer_norm", kBindings, sizeof(shaders::LayerNormPush),
                                   kVariants};

void add_layer_norm(graph::Graph& graph, const LayerNorm& args, std::string label) {
  const Shape& shape = args.x.shape;
  KL_CHECK(shape.rank() == 2 && shape[1] % 4 == 0, "rows of a multiple of 4");
  const Shape row{shape[1]};
  const Tensor& a = args.a;
  const Tensor& b = args.b;
  KL_CHECK(a.valid() == b.valid() && !(a.valid() && args.shift.valid()),
           "a shift, two tensors of rows, or nothing");
  check(args.x, shape);
  check(args.y, shape);
  check(args.weight, row);
  const bool centred = args.bias.valid();
  if (centred) check(args.bias, row);
  Added added = kNothing;
  if (args.shift.valid()) {
    added = kShift;
    check(args.shift, row);
  }
  if (a.valid()) {
    added = kByRow;
    check(a, shape);
    check(b, shape);
  }

  graph::Node node;
  node.kernel = &kLayerNorm;
  node.variant = &graph.pick(kLayerNorm);
  node.label = std::move(label);
  node.tensors = {args.x,
                  added == kShift ? args.shift : args.weight,
                  added == kByRow ? a : args.x,
                  added == kByRow ? b : args.x,
                  args.weight,
                  centred ? args.bias : args.weight,
                  args.y};
  node.constants = {row_workgroup_size(*node.variant, graph.caps()), added, centred ? 1u : 0u};
  node.set_push(shaders::LayerNormPush{static_cast<uint32_t>(shape[1] / 4), args.eps});
  node.grid = {static_cast<uint32_t>(shape[0]), 1, 1};
  node.bytes_touched = args.x.n_bytes + a.n_bytes + b.n_bytes + args.y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
