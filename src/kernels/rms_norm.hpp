// RMS norm, alone and fused with the residual addition before it. Shaders: rms_norm.comp,
// residual_norm.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kRmsNorm;
extern const graph::KernelDesc kResidualNorm;
extern const graph::KernelDesc kResidualAdd;

/// y = rms(x) * weight. x, y: f32 [n_rows, width], weight: f32 [width]; width a multiple of 4.
void add_rms_norm(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& weight,
                  const graph::Tensor& y, float eps, std::string label);

struct ResidualNorm {
  graph::Tensor delta;   // f32 [n_rows, width]: what the block computed
  graph::Tensor post;    // f32 [width]: norm of delta
  graph::Tensor x;       // f32 [n_rows, width]: residual stream, updated
  graph::Tensor next{};  // f32 [width]: norm in front of the next block; unset: no y
  graph::Tensor y{};     // f32 [n_rows, width]: input of the next block
  float scale = 1.0f;    // layer scalar
  float eps = 1e-6f;
};

/// x = (x + rms(delta) * post) * scale; y = rms(x) * next where `next` is set.
void add_residual_norm(graph::Graph& graph, const ResidualNorm& args, std::string label);

}  // namespace kimberlite::kernels
