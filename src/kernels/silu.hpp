// x * sigmoid(x). Shader: silu.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kSilu;

/// y = silu(x). x, y: f32 [n, width], width a multiple of 4; y may be x.
void add_silu(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& y,
              std::string label);

}  // namespace kimberlite::kernels
