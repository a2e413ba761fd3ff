// The logits of a sparse head, which computes those of some clusters of tokens alone, in their
// places. Shader: cluster_logits.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kClusterLogits;

/// What the logit of a token is whose cluster was not chosen.
inline constexpr float kNoLogit = -3.402823466e38f;

struct ClusterLogits {
  graph::Tensor parts;     // f32 [n * n_used, rows of a cluster]
  graph::Tensor clusters;  // u32 [n * n_used]: the chosen ones, all different for a column
  graph::Tensor rows;      // u32 [n_vocab]: row of each token in the head, cluster by cluster
  graph::Tensor logits;    // out, f32 [n, n_vocab]
  uint32_t n_clusters = 0;
};

void add_cluster_logits(graph::Graph& graph, const ClusterLogits& args, std::string label);

}  // namespace kimberlite::kernels
