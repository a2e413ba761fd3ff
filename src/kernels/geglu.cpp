#include "kernels/geglu.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/geglu.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"gate"}, BindingDesc{"up"},
                               BindingDesc{"out", Access::write}};
constexpr std::array kVariants{Variant{"portable", "geglu"}};

constexpr uint64_t kElementsPerInvocation = 4;

}  // namespace

const graph::KernelDesc kGeglu{"geglu", kBindings, sizeof(shaders::GegluPush), kVariants};

void add_geglu(graph::Graph& graph, const Tensor& gate, const Tensor& up, const Tensor& out,
               std::string label) {
  KL_CHECK(gate.dtype == DType::f32 && up.dtype == DType::f32 && out.dtype == DType::f32,
           "float32 activations");
  KL_CHECK(gate.shape == up.shape && gate.shape == out.shape, "rows of different shapes");
  KL_CHECK(gate.n_elements() <= UINT32_MAX / 2, "more elements than 32 bits count");

  const uint64_t n_elements = gate.n_elements();
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);
  const uint64_t n_tiles = div_up(n_elements, workgroup * kElementsPerInvocation);
  const uint64_t grid_y = div_up<uint64_t>(n_tiles, graph.caps().max_grid_x);

  graph::Node node;
  node.kernel = &kGeglu;
  node.variant = &graph.pick(kGeglu);
  node.label = std::move(label);
  node.tensors = {gate, up, out};
  node.constants = {workgroup};
  node.set_push(shaders::GegluPush{static_cast<uint32_t>(n_elements)});
  node.grid = {static_cast<uint32_t>(div_up(n_tiles, grid_y)), static_cast<uint32_t>(grid_y), 1};
  node.bytes_touched = gate.n_bytes + up.n_bytes + out.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
