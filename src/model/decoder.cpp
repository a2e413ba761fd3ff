#include "model/decoder.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/embed.hpp"
#include "kernels/linear.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/soft_rows.hpp"
#include "model/layers.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearInput;

namespace {

/// What every layer gets of the token and of the first residual stream x (E2B, E4B):
/// (rms(proj(x) / sqrt(width)) norm + sqrt(P) table[token]) / sqrt(2), P values for each layer.
Tensor add_per_layer_inputs(Graph& graph, const ModelConfig& config, const PerLayerWeights& weights,
                            const Tensor& columns, const Tensor& x) {
  const uint64_t n = columns.shape[0];
  const uint64_t p = config.per_layer_width;
  const uint64_t all = config.n_layers * p;
  const Tensor per_layer = graph.transient("per_layer", DType::f32, Shape{n, all});
  kernels::add_embed(graph, weights.table, columns, per_layer, std::sqrt(static_cast<float>(p)),
                     "per_layer_token_embd");
  LinearInput input(x, "per_layer_model_proj.act");
  const Tensor context = graph.transient("per_layer_model_proj", DType::f32, Shape{n, all});
  kernels::add_linear(graph, weights.proj, input, context, "per_layer_model_proj");
  // The factor 1 / sqrt(width) cancels in the norm but for its epsilon.
  const float eps = config.rms_eps * static_cast<float>(config.width);
  const Shape by_layer{n * config.n_layers, p};
  kernels::add_residual_norm(graph,
                             {.delta = context.reshaped(by_layer),
                              .post = weights.norm,
                              .x = per_layer.reshaped(by_layer),
                              .scale = std::numbers::sqrt2_v<float> / 2,
                              .eps = eps},
                             "per_layer_proj_norm");
  return per_layer;
}

}  // namespace

Tensor add_decoder(Graph& graph, const ModelConfig& config, const Weights& weights,
                   const DecoderState& state, const DecoderOptions& options) {
  LayerStack stack{.config = config,
                   .weights = weights.layers(),
                   .output_norm = weights.output_norm(),
                   .caches = state.caches,
                   .columns = state.columns,
                   .rope_sliding = state.rope_sliding,
                   .rope_full = state.rope_full};
  const Shape shape{state.columns.shape[0], config.width};
  stack.x = options.residual ? *options.residual : graph.transient("x", DType::f32, shape);
  kernels::add_embed(graph, weights.embedding(), state.columns, stack.x, config.embedding_scale,
                     "token_embd");
  if (state.soft.valid()) {
    kernels::add_soft_rows(graph, state.soft, state.sources, stack.x, "soft_embd");
  }
  if (config.per_layer_width != 0) {
    stack.per_layer =
        add_per_layer_inputs(graph, config, weights.per_layer(), state.columns, stack.x);
  }
  stack.n_layers = std::min(config.n_layers, options.n_layers);
  if (options.logits) stack.readers = {&weights.head()};
  if (options.result) stack.result = *options.result;
  LinearInput result = add_layers(graph, stack);
  if (options.logits) {
    kernels::add_linear(graph, weights.head(), result, *options.logits, "output",
                        {.softcap = config.softcap});
  }
  return result.rows().f32;
}

}  // namespace kimberlite::model
