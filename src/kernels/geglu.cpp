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

void add_geglu(graph::Graph& graph, const ColumnSlice& gate, const ColumnSlice& up,
               const Tensor& out, std::string label) {
  KL_CHECK(out.dtype == DType::f32 && out.shape.rank() == 2, "a float32 result [n, width]");
  const uint64_t width = out.shape[1];
  for (const ColumnSlice* slice : {&gate, &up}) {
    const Tensor& rows = slice->rows;
    KL_CHECK(rows.dtype == DType::f32 && rows.shape.rank() == 2, "float32 activations [n, any]");
    KL_CHECK(rows.shape[0] == out.shape[0] && slice->first + width <= rows.shape[1],
             "rows of different shapes");
    KL_CHECK(rows.n_elements() <= UINT32_MAX, "more elements than 32 bits count");
  }
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);

  graph::Node node;
  node.kernel = &kGeglu;
  node.variant = &graph.pick(kGeglu);
  node.label = std::move(label);
  node.tensors = {gate.rows, up.rows, out};
  node.constants = {workgroup};
  node.set_push(
      shaders::GegluPush{static_cast<uint32_t>(width), static_cast<uint32_t>(gate.rows.shape[1]),
                         static_cast<uint32_t>(gate.first), static_cast<uint32_t>(up.rows.shape[1]),
                         static_cast<uint32_t>(up.first)});
  node.grid = {static_cast<uint32_t>(div_up<uint64_t>(width, workgroup * kElementsPerInvocation)),
               static_cast<uint32_t>(out.shape[0]), 1};
  node.bytes_touched = 3 * out.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
