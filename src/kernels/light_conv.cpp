#include "kernels/light_conv.hpp"

#include <array>

#include "kernels/row_workgroup.hpp"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"taps"}, BindingDesc{"weight"},
                               BindingDesc{"y", Access::read_write}};
constexpr std::array kVariants{Variant{"workgroup", "light_conv_workgroup", has_workgroup_rows},
                               Variant{"portable", "light_conv"}};

}  // namespace

const graph::KernelDesc kLightConv{"light_conv", kBindings, sizeof(shaders::LightConvPush),
                                   kVariants};

void add_light_conv(graph::Graph& graph, const LightConv& args, std::string label) {
  const Shape& shape = args.y.shape;
  KL_CHECK(shape.rank() == 2 && shape[1] % 4 == 0, "rows of a multiple of 4");
  KL_CHECK((args.x.shape == Shape{shape[0], 2 * shape[1]}), "values and gates");
  KL_CHECK((args.taps.shape == Shape{shaders::kLightTaps, shape[1]}), "taps of another width");
  KL_CHECK((args.weight.shape == Shape{shape[1]}), "a norm of another width");
  KL_CHECK(args.x.dtype == DType::f32 && args.y.dtype == DType::f32, "rows of float32");
  KL_CHECK(args.x.n_elements() <= UINT32_MAX, "more elements than 32 bits count");

  graph::Node node;
  node.kernel = &kLightConv;
  node.variant = &graph.pick(kLightConv);
  node.label = std::move(label);
  node.tensors = {args.x, args.taps, args.weight, args.y};
  node.constants = {row_workgroup_size(*node.variant, graph.caps())};
  node.set_push(shaders::LightConvPush{static_cast<uint32_t>(shape[1] / 4), args.eps});
  node.grid = {static_cast<uint32_t>(shape[0]), 1, 1};
  node.bytes_touched = args.x.n_bytes + args.y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
