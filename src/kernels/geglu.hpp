// The gated activation of Gemma's MLP. Shader: geglu.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kGeglu;

/// out = gelu_tanh(gate) * up. All f32 [n_rows, width]; `out` may be `gate` or `up`.
void add_geglu(graph::Graph& graph, const graph::Tensor& gate, const graph::Tensor& up,
               const graph::Tensor& out, std::string label);

}  // namespace kimberlite::kernels
