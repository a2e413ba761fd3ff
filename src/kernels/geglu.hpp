// The gated activation of Gemma's MLP. Shader: geglu.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/column_slice.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kGeglu;

/// out = gelu_tanh(gate) * up, [n_rows, width]. out.f32 may be `gate` or `up` where they have the
/// same shape.
void add_geglu(graph::Graph& graph, const ColumnSlice& gate, const ColumnSlice& up,
               const ActivationRows& out, uint64_t width, std::string label);

}  // namespace kimberlite::kernels
