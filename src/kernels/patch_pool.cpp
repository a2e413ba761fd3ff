#include "kernels/patch_pool.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/patch_pool.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"bias"}, BindingDesc{"factor"},
                               BindingDesc{"y", Access::write}};
constexpr std::array kVariants{Variant{"portable", "patch_pool"}};

}  // namespace

const graph::KernelDesc kPatchPool{"patch_pool", kBindings, sizeof(shaders::PatchPoolPush),
                                   kVariants};

void add_patch_pool(graph::Graph& graph, const PatchPool& args, std::string label) {
  const Shape& shape = args.y.shape;
  KL_CHECK(args.y.dtype == DType::f32 && shape.rank() == 2 && shape[1] % 4 == 0,
           "rows of a multiple of 4");
  KL_CHECK(args.n_x != 0 && shape[0] % args.n_x == 0, "whole rows of tokens");
  KL_CHECK(args.x.dtype == DType::f32 && args.x.shape.rank() == 2 && args.x.shape[1] == shape[1] &&
               args.x.shape[0] >= shape[0] * args.merge * args.merge,
           "fewer patches than the tokens have");
  const bool standardises = args.bias.valid();
  KL_CHECK(standardises == args.factor.valid(), "bias and factor, or neither");
  if (standardises) {
    KL_CHECK((args.bias.shape == Shape{shape[1]} && args.factor.shape == Shape{shape[1]}),
             "bias and factor of another width");
  }
  const auto width4 = static_cast<uint32_t>(shape[1] / 4);
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kPatchPool;
  node.variant = &graph.pick(kPatchPool);
  node.label = std::move(label);
  node.tensors = {args.x, standardises ? args.bias : args.x, standardises ? args.factor : args.x,
                  args.y};
  node.constants = {workgroup, standardises ? 1u : 0u};
  node.set_push(shaders::PatchPoolPush{width4, args.n_x, args.merge, args.scale});
  node.grid = {div_up(width4, workgroup), static_cast<uint32_t>(shape[0]), 1};
  node.bytes_touched = args.y.n_bytes * (1 + uint64_t{args.merge} * args.merge);
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
