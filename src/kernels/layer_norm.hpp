// Layer norm of rows, or RMS norm, with what is added in front of it. Shader: layer_norm.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kLayerNorm;

struct LayerNorm {
  graph::Tensor x;        // f32 [n_rows, width]; width a multiple of 4
  graph::Tensor shift{};  // f32 [width]: added to every row; unset: nothing
  graph::Tensor a{};      // f32 [n_rows, width], as b: added too, both or none, not beside `shift`
  graph::Tensor b{};
  graph::Tensor weight;  // f32 [width]
  graph::Tensor bias{};  // f32 [width]; unset: the mean stays too, an RMS norm
  graph::Tensor y;       // f32 [n_rows, width]
  float eps = 1e-5f;
};

/// y = (v - mean(v)) / sqrt(variance(v) + eps) * weight + bias, or v / sqrt(mean(v^2) + eps) *
/// weight without a bias; v = x + what is added.
void add_layer_norm(graph::Graph& graph, const LayerNorm& args, std::string label);

}  // namespace kimberlite::kernels
