// Mixture of experts: which experts a column takes, its slots sorted for the products, and the
// weighted sum of what the experts say. Shaders: expert_route.comp, expert_tiles.comp,
// expert_sum.comp; the products are matvec.comp's (panel_product.hpp).
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kExpertRoute;
extern const graph::KernelDesc kExpertTiles;
extern const graph::KernelDesc kExpertSum;

/// The most experts that a model may have.
inline constexpr uint32_t kMostExperts = 1024;

/// A slot is a column and one of its n_used experts: slot = column * n_used + j, j by falling
/// score.
struct ExpertRouting {
  graph::Tensor experts;  // u32 [n_slots]
  graph::Tensor weights;  // f32 [n_slots]
  ExpertTiles tiles;
};

/// scores: f32 [n, n_experts]; scale: f32 [n_experts], multiplies the weight of each expert.
/// Up to 8 columns have one slot in a tile, so that a column's result does not depend on the
/// others; more are grouped, so that an expert is read once for several of them.
ExpertRouting add_expert_routing(graph::Graph& graph, const graph::Tensor& scores,
                                 const graph::Tensor& scale, uint32_t n_used,
                                 const std::string& label);

/// out[c] = sum over the slots of column c of weight * y[slot]. y: f32 [n_slots, width], width a
/// multiple of 4; out: f32 [n, width].
void add_expert_sum(graph::Graph& graph, const graph::Tensor& y, const ExpertRouting& routing,
                    const graph::Tensor& out, std::string label);

}  // namespace kimberlite::kernels
