#include "model/drafter.hpp"

#include <cmath>

#include "kernels/cluster_logits.hpp"
#include "kernels/embed.hpp"
#include "kernels/experts.hpp"
#include "kernels/linear.hpp"
#include "model/layers.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearInput;

namespace {

/// x = pre_projection(embedding of the token, hidden state).
Tensor add_input(Graph& graph, const DrafterConfig& config, const DrafterWeights& weights,
                 const Weights& target, const DrafterState& state) {
  const uint64_t width = config.target_width;
  kernels::add_embed(graph, target.embedding(), state.token,
                     state.input.reshaped({2, width}).rows(0, 1),
                     std::sqrt(static_cast<float>(width)), "draft.token_embd");
  LinearInput input(state.input, "draft.pre_projection.act");
  const Tensor x = graph.transient("draft.x", DType::f32, {1, config.text.width});
  kernels::add_linear(graph, weights.pre_projection(), input, x, "draft.pre_projection");
  return x;
}

/// Logits of the tokens in the clusters whose centroids fit best, each cluster as an expert.
void add_sparse_head(Graph& graph, const ClusterConfig& clusters, const DrafterWeights& weights,
                     LinearInput& result, const Tensor& logits) {
  const Tensor scores = graph.transient("draft.centroids", DType::f32, Shape{1, clusters.n});
  kernels::add_linear(graph, weights.centroids(), result, scores, "draft.centroids");
  const kernels::ExpertRouting chosen =
      kernels::add_expert_routing(graph, scores, Tensor{}, {clusters.n_used, {}}, "draft.clusters");
  const Tensor parts =
      graph.transient("draft.output", DType::f32, Shape{clusters.n_used, clusters.n_rows()});
  kernels::add_expert_product(graph, weights.head(), clusters.n_rows(),
                              result.operand(graph, weights.head().linear_class), chosen.tiles,
                              parts, "draft.output");
  kernels::add_cluster_logits(graph,
                              {.parts = parts,
                               .clusters = chosen.experts,
                               .rows = weights.token_rows(),
                               .logits = logits,
                               .n_clusters = clusters.n},
                              "draft.logits");
}

/// The hidden state for the next draft, behind the embedding in the input. A view of that half
/// alone may start where no binding can, so this is a product with the last rows of a matrix twice
/// as tall.
void add_post_projection(Graph& graph, const DrafterWeights& weights, LinearInput& result,
                         const Tensor& input) {
  kernels::PackedMatrix tall = weights.post_projection();
  for (kernels::Shard& shard : tall.shards) shard.first_row += tall.n_rows;
  tall.n_rows *= 2;
  kernels::add_linear(graph, tall, result, input, "draft.post_projection");
}

}  // namespace

void add_draft_step(Graph& graph, const DrafterConfig& config, const DrafterWeights& weights,
                    const Weights& target, const DrafterState& state, const Tensor& logits,
                    bool keep_hidden) {
  const Shape input{1, uint64_t{2} * config.target_width};
  KL_CHECK(state.input.dtype == DType::f32 && state.input.shape == input, "input of another shape");
  std::vector<kernels::KvCacheView> caches;
  for (const LayerConfig& layer : config.text.layers) {
    caches.push_back(layer.kind == LayerKind::sliding ? state.sliding : state.full);
  }
  LayerStack stack{.config = config.text,
                   .weights = weights.layers(),
                   .output_norm = weights.output_norm(),
                   .caches = caches,
                   .columns = state.position,
                   .rope_sliding = state.rope_sliding,
                   .rope_full = state.rope_full};
  stack.x = add_input(graph, config, weights, target, state);
  stack.own_key = kernels::OwnKey::hidden;
  stack.n_layers = config.text.n_layers;
  stack.prefix = "draft.";
  stack.readers = {&weights.head(), &weights.centroids(),
                   keep_hidden ? &weights.post_projection() : nullptr};
  LinearInput result = add_layers(graph, stack);
  if (config.clusters.n != 0) {
    add_sparse_head(graph, config.clusters, weights, result, logits);
  } else {
    kernels::add_linear(graph, weights.head(), result, logits, "draft.output");
  }
  if (keep_hidden) add_post_projection(graph, weights, result, state.input);
}

}  // namespace kimberlite::model
