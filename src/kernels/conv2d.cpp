#include "kernels/conv2d.hpp"

#include <array>

#include "shaders/conv2d.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"sizes"}, BindingDesc{"taps"},
                               BindingDesc{"weight"}, BindingDesc{"y", Access::read_write}};
constexpr std::array kVariants{Variant{"portable", "conv2d"}};

}  // namespace

const graph::KernelDesc kConv2d{"conv2d", kBindings, sizeof(shaders::Conv2dPush), kVariants};

void add_conv2d(graph::Graph& graph, const Conv2d& args, std::string label) {
  const Shape& in = args.x.shape;
  KL_CHECK(args.x.dtype == DType::f32 && in.rank() == 3 && in[0] % 2 == 0 && in[1] % 2 == 0,
           "frames of frequencies of channels, both even in number");
  const uint64_t c_out = args.weight.shape[0];
  KL_CHECK(c_out % 4 == 0 && (args.weight.shape == Shape{c_out}), "channels in fours");
  KL_CHECK((args.taps.shape == Shape{9, in[2], c_out}), "taps of other channels");
  KL_CHECK((args.y.shape == Shape{in[0] / 2, in[1] / 2, c_out}), "results of another shape");
  KL_CHECK(args.sizes.dtype == DType::u32 && args.size_index < args.sizes.shape[0],
           "a number of frames");
  KL_CHECK(args.x.n_elements() <= UINT32_MAX && args.y.n_elements() <= UINT32_MAX,
           "more elements than 32 bits count");

  graph::Node node;
  node.kernel = &kConv2d;
  node.variant = &graph.pick(kConv2d);
  node.label = std::move(label);
  node.tensors = {args.x, args.sizes, args.taps, args.weight, args.y};
  node.constants = {graph.caps().subgroup_size};
  node.set_push(shaders::Conv2dPush{static_cast<uint32_t>(in[1]), static_cast<uint32_t>(in[2]),
                                    static_cast<uint32_t>(c_out / 4), args.size_index, args.eps});
  node.grid = {static_cast<uint32_t>(in[1] / 2), static_cast<uint32_t>(in[0] / 2), 1};
  node.bytes_touched = args.x.n_bytes + args.taps.n_bytes + args.y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
