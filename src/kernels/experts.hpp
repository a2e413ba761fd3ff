// Mixture of experts: which experts a column takes, and its slots in tiles for the products.
// Shaders: expert_route.comp, expert_tiles.comp; the products are those of any matrix
// (panel_product.hpp), the norms and sums around them residual_norm.comp's (rms_norm.hpp).
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kExpertRoute;
extern const graph::KernelDesc kExpertTiles;

/// The most experts that a model may have, or clusters that a sparse head may choose from.
inline constexpr uint32_t kMostExperts = 2048;

/// A slot is a column and one of its n_used experts: slot = column * n_used + j, j by falling
/// score.
struct ExpertRouting {
  graph::Tensor experts;  // u32 [n_slots]
  graph::Tensor weights;  // f32 [n_slots]
  ExpertTiles tiles;
};

/// What becomes of the experts that are chosen.
struct ExpertUse {
  uint32_t n_used = 1;      // experts of a column
  ExpertMatrices matrices;  // that add_expert_product is called with
};

/// The tensors of a routing, for what chooses the experts.
ExpertRouting make_expert_routing(graph::Graph& graph, uint64_t n, uint64_t n_experts,
                                  const ExpertUse& use, const graph::Tensor& weights,
                                  const std::string& label);

/// scores: f32 [n, n_experts]; scale: f32 [n_experts], multiplies the weight of each expert; not
/// valid(): 1 for all.
/// Up to 8 columns have one slot in a tile, so that a column's result does not depend on the
/// others; more are grouped, so that an expert is read once for several of them.
ExpertRouting add_expert_routing(graph::Graph& graph, const graph::Tensor& scores,
                                 const graph::Tensor& scale, const ExpertUse& use,
                                 const std::string& label);
/// The same with the weights in a tensor of the caller's, f32 [n * n_used].
ExpertRouting add_expert_routing(graph::Graph& graph, const graph::Tensor& scores,
                                 const graph::Tensor& scale, const ExpertUse& use,
                                 const graph::Tensor& weights, const std::string& label);

}  // namespace kimberlite::kernels
