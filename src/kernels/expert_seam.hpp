// The seam in front of a mixture of experts with the router's product and the choice of experts,
// for decode. Shader: expert_seam.comp. What it stands for: add_expert_inputs, the product, and
// add_expert_routing.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/experts.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/rms_norm.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kExpertSeam;

/// The router of a layer.
struct ExpertRouter {
  graph::Tensor norm;          // f32 [width]
  const PackedMatrix& matrix;  // [n_experts, width]
  graph::Tensor scale;         // f32 [n_experts], multiplies the weight of each expert
  ExpertUse use;
};

/// add_residual_norm, experts_y = rms(x) * experts_norm in the same form as y of the seam, and the
/// routing of the scores of rms(x) * router.norm. One dispatch for up to 8 rows and a router in
/// float32 and in one piece, else three or more.
ExpertRouting add_expert_seam(graph::Graph& graph, const ResidualNorm& args,
                              const graph::Tensor& experts_norm, const ActivationRows& experts_y,
                              const ExpertRouter& router, const std::string& label);
/// The same with the weights in a tensor of the caller's, f32 [n * n_used].
ExpertRouting add_expert_seam(graph::Graph& graph, const ResidualNorm& args,
                              const graph::Tensor& experts_norm, const ActivationRows& experts_y,
                              const ExpertRouter& router, const graph::Tensor& weights,
                              const std::string& label);

}  // namespace kimberlite::kernels
