#include "kernels/clip.hpp"

#include <algorithm>
#include <array>

#include "kernels/row_elements.hpp"
#include "shaders/clip.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"x"}, BindingDesc{"y", Access::write}};
constexpr std::array kVariants{Variant{"portable", "clip"}};

}  // namespace

const graph::KernelDesc kClip{"clip", kBindings, sizeof(shaders::ClipPush), kVariants};

void add_clip(graph::Graph& graph, const Tensor& x, const Tensor& y, const Bounds& bounds,
              std::string label) {
  KL_CHECK(y.dtype == DType::f32 && y.shape == x.shape, "results of another shape");
  graph::Node node = make_element_node(graph, kClip, x, std::move(label));
  node.tensors = {x, y};
  // A shader need not know infinities.
  constexpr float kMost = std::numeric_limits<float>::max();
  node.set_push(
      shaders::ClipPush{count_vec4(x), std::max(bounds.low, -kMost), std::min(bounds.high, kMost)});
  node.bytes_touched = x.n_bytes + y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
