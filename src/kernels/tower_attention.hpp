// Attention of the patches of a picture, which all see each other. Shader: tower_attention.comp.
#pragma once

#include <cstdint>
#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kTowerAttention;

/// The largest head.
inline constexpr uint32_t kMaxTowerHeadDim = 128;

struct TowerAttention {
  graph::Tensor q;  // f32 [n_queries, n_heads * head_dim]
  graph::Tensor k;  // f32 [>= n_keys, n_heads * head_dim], as v
  graph::Tensor v;
  graph::Tensor y;        // f32 [n_queries, n_heads * head_dim]
  uint32_t head_dim = 0;  // a multiple of 4 up to kMaxTowerHeadDim
  uint32_t n_keys = 0;    // at least 1; rows behind them are not read
};

/// y = softmax(q k^T) v of every head, scale 1.
void add_tower_attention(graph::Graph& graph, const TowerAttention& args, std::string label);

}  // namespace kimberlite::kernels
