#include "kernels/silu.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
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
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2 && x.shape[1] % 4 == 0,
           "rows of a multiple of 4");
  KL_CHECK(y.dtype == DType::f32 && y.shape == x.shape, "results of another shape");
  KL_CHECK(x.n_elements() <= UINT32_MAX, "more elements than 32 bits count");
  const auto width4 = static_cast<uint32_t>(x.shape[1] / 4);
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kSilu;
  node.variant = &graph.pick(kSilu);
  node.label = std::move(label);
  node.tensors = {x, y};
  node.constants = {workgroup};
  node.set_push(shaders::SiluPush{width4});
  node.grid = {div_up(width4, workgroup), static_cast<uint32_t>(x.shape[0]), 1};
  node.bytes_touched = x.n_bytes + y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
