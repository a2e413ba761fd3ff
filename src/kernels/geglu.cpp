#include "kernels/geglu.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/geglu.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"gate"}, BindingDesc{"up"},
                               BindingDesc{"y", Access::write}, BindingDesc{"y_q", Access::write}};
constexpr std::array kVariants{Variant{"portable", "geglu"}};

constexpr uint64_t kElementsPerInvocation = 4;

}  // namespace

const graph::KernelDesc kGeglu{"geglu", kBindings, sizeof(shaders::GegluPush), kVariants};

void add_geglu(graph::Graph& graph, const ColumnSlice& gate, const ColumnSlice& up,
               const ActivationRows& out, uint64_t width, std::string label) {
  const uint64_t n = gate.rows.shape[0];
  check_activation_rows(out, graph.caps(), n, width);
  for (const ColumnSlice& slice : {gate, up}) check_slice(slice, n, width);
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kGeglu;
  node.variant = &graph.pick(kGeglu);
  node.label = std::move(label);
  node.tensors = {gate.rows, up.rows, out.y(), out.y_q()};
  node.constants = {workgroup, out.outputs()};
  node.set_push(
      shaders::GegluPush{static_cast<uint32_t>(width), static_cast<uint32_t>(gate.rows.shape[1]),
                         static_cast<uint32_t>(gate.first), static_cast<uint32_t>(up.rows.shape[1]),
                         static_cast<uint32_t>(up.first)});
  node.grid = {static_cast<uint32_t>(div_up<uint64_t>(width, workgroup * kElementsPerInvocation)),
               static_cast<uint32_t>(n), 1};
  node.bytes_touched = 2 * n * width * sizeof(float) + out.n_bytes();
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
