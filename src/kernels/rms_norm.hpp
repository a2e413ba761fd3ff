// RMS norm, alone and fused with the residual addition before it, with what is around a mixture of
// experts too. Shaders: rms_norm.comp, residual_norm.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kRmsNorm;
extern const graph::KernelDesc kResidualNorm;
extern const graph::KernelDesc kResidualAdd;
extern const graph::KernelDesc kResidualPlain;
extern const graph::KernelDesc kExpertInputs;
extern const graph::KernelDesc kExpertSum;

/// y = rms(x) * weight. x: f32 [n_rows, width], weight: f32 [width]; width a multiple of 4.
void add_rms_norm(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& weight,
                  const ActivationRows& y, float eps, std::string label);

struct ResidualNorm {
  graph::Tensor delta;   // f32 [n_rows, width]: what the block computed
  graph::Tensor post{};  // f32 [width]: norm of delta; unset: none
  graph::Tensor x;       // f32 [n_rows, width]: residual stream, updated
  graph::Tensor next{};  // f32 [width]: norm in front of the next block; unset: none
  ActivationRows y{};    // [n_rows, width]: input of the next block; unset: none
  float scale = 1.0f;    // layer scalar
  float eps = 1e-6f;
};

/// x = (x + rms(delta) * post) * scale; y = rms(x) * next, or x itself where `next` is not set (y
/// is rounded alone then, or not wanted). Without `post` delta is added as it is; `next` is set.
void add_residual_norm(graph::Graph& graph, const ResidualNorm& args, std::string label);

/// Inputs of a mixture of experts: two more norms of the residual stream.
struct ExpertInputs {
  graph::Tensor router_norm;   // f32 [width]
  graph::Tensor router_y;      // f32 [n_rows, width]
  graph::Tensor experts_norm;  // f32 [width]
  ActivationRows experts_y;    // [n_rows, width], in the same form as y of the seam
};
/// The seam in front of a mixture of experts: add_residual_norm, then router_y = rms(x) *
/// router_norm and experts_y = rms(x) * experts_norm.
void add_expert_inputs(graph::Graph& graph, const ResidualNorm& args, const ExpertInputs& inputs,
                       std::string label);

/// What a mixture of experts adds to the residual stream.
struct ExpertSum {
  graph::Tensor mlp;        // f32 [n_rows, width]: the dense block beside the experts
  graph::Tensor mlp_norm;   // f32 [width]
  graph::Tensor outs;       // f32 [n_rows * n_used, width]: of the chosen experts
  graph::Tensor outs_norm;  // f32 [width]
  graph::Tensor weights;    // f32 [n_rows * n_used]
};
/// The seam behind a mixture of experts: add_residual_norm of delta = rms(mlp) * mlp_norm +
/// rms(sum_j weights_j outs_j) * outs_norm, which is written to args.delta.
void add_expert_sum(graph::Graph& graph, const ExpertSum& sum, const ResidualNorm& args,
                    std::string label);

}  // namespace kimberlite::kernels
