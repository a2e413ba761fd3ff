// Sums of rows. Shader: add_rows.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kAddRows;

/// x = x + (a + b). All f32 [n, width], width a multiple of 4.
void add_add_rows(graph::Graph& graph, const graph::Tensor& a, const graph::Tensor& b,
                  const graph::Tensor& x, std::string label);

}  // namespace kimberlite::kernels
