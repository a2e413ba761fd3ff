// Embeddings that come from elsewhere in the place of those of tokens. Shader: soft_rows.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kSoftRows;

/// x[c] = soft[sources[c]], but for shaders::kNoSource. soft: f32 [n_soft, width], sources: u32
/// [n, 1], x: f32 [n, width]; width a multiple of 4.
void add_soft_rows(graph::Graph& graph, const graph::Tensor& soft, const graph::Tensor& sources,
                   const graph::Tensor& x, std::string label);

}  // namespace kimberlite::kernels
