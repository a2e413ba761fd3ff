// The gated activation of Gemma's MLP. Shader: geglu.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kGeglu;

/// Some consecutive columns of f32 [n_rows, any width]: as many as the result has.
struct ColumnSlice {
  ColumnSlice(const graph::Tensor& all_rows, uint64_t first_column = 0)  // NOLINT: a whole tensor
      : rows(all_rows), first(first_column) {}
  graph::Tensor rows;
  uint64_t first;
};

/// out = gelu_tanh(gate) * up. out: f32 [n_rows, width]; it may be `gate` or `up` where they have
/// the same shape.
void add_geglu(graph::Graph& graph, const ColumnSlice& gate, const ColumnSlice& up,
               const graph::Tensor& out, std::string label);

}  // namespace kimberlite::kernels
