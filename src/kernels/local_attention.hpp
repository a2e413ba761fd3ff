// Attention to the last rows with relative positions and capped logits. Shader:
// local_attention.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "shaders/local_attention.h"

namespace kimberlite::kernels {

extern const graph::KernelDesc kLocalAttention;

struct LocalAttention {
  graph::Tensor q;  // f32 [n, n_heads * d], as k, v and out; d a multiple of 4
  graph::Tensor k;
  graph::Tensor v;
  graph::Tensor relative;  // f32 [shaders::kLocalWindow or more, n_heads * d], by distance
  graph::Tensor scale;     // f32 [d], of the query
  graph::Tensor out;
  float k_scale = 1.0f;
  float cap = 50.0f;
};

/// out[t] = softmax over the last shaders::kLocalWindow rows s up to t of
/// cap tanh((q[t] scale) . (k[s] k_scale + relative[t - s]) / cap), times v.
void add_local_attention(graph::Graph& graph, const LocalAttention& args, std::string label);

}  // namespace kimberlite::kernels
