#include "model/decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/embed.hpp"
#include "kernels/experts.hpp"
#include "kernels/geglu.hpp"
#include "kernels/linear.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope_kv.hpp"

namespace kimberlite::model {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

/// Adds the layers one after another; holds what they all need.
class DecoderBuilder {
 public:
  DecoderBuilder(Graph& graph, const ModelConfig& config, const Weights& weights,
                 const DecoderState& state)
      : graph_(graph),
        config_(config),
        weights_(weights),
        state_(state),
        n_columns_(state.columns.shape[0]) {}

  Tensor build(const DecoderOptions& options) {
    x_ = options.residual.value_or(rows("x", config_.width));
    kernels::add_embed(graph_, weights_.embedding(), state_.columns, x_, config_.embedding_scale,
                       "token_embd");
    if (config_.per_layer_width != 0) add_per_layer_inputs();
    Tensor normed = rows("attn_in", config_.width);
    kernels::add_rms_norm(graph_, x_, weights_.layers()[0].attn_norm, normed, config_.rms_eps,
                          "blk.0.attn_norm");
    for (uint32_t i = 0; i < std::min(config_.n_layers, options.n_layers); ++i) {
      normed = add_attention_block(i, normed);
      normed = add_mlp_block(i, normed);
    }
    if (options.logits) {
      kernels::LinearInput input(normed, "output.act");
      kernels::add_linear(graph_, weights_.head(), input, *options.logits, "output",
                          {.softcap = config_.softcap});
    }
    return normed;
  }

 private:
  Tensor rows(std::string name, uint64_t width) {
    return graph_.transient(std::move(name), DType::f32, Shape{n_columns_, width});
  }
  static std::string label(uint32_t layer, std::string_view name) {
    return fmt::format("blk.{}.{}", layer, name);
  }
  Tensor add_product(const kernels::PackedMatrix& matrix, kernels::LinearInput& input,
                     std::string name) {
    const Tensor y = rows(name, matrix.n_rows);
    kernels::add_linear(graph_, matrix, input, y, name);
    return y;
  }

  /// What every layer gets of the token and of the first residual stream (E2B, E4B):
  /// (rms(proj(x) / sqrt(width)) norm + sqrt(P) table[token]) / sqrt(2), P values for each layer.
  void add_per_layer_inputs() {
    const PerLayerWeights& weights = weights_.per_layer();
    const uint64_t p = config_.per_layer_width;
    const uint64_t all = config_.n_layers * p;
    per_layer_ = rows("per_layer", all);
    kernels::add_embed(graph_, weights.table, state_.columns, per_layer_,
                       std::sqrt(static_cast<float>(p)), "per_layer_token_embd");
    kernels::LinearInput input(x_, "per_layer_model_proj.act");
    const Tensor context = add_product(weights.proj, input, "per_layer_model_proj");
    // The factor 1 / sqrt(width) cancels in the norm but for its epsilon.
    const float eps = config_.rms_eps * static_cast<float>(config_.width);
    const Shape by_layer{n_columns_ * config_.n_layers, p};
    kernels::add_residual_norm(graph_,
                               {.delta = context.reshaped(by_layer),
                                .post = weights.norm,
                                .x = per_layer_.reshaped(by_layer),
                                .scale = std::numbers::sqrt2_v<float> / 2,
                                .eps = eps},
                               "per_layer_proj_norm");
  }

  /// x += rms(o(attention(normed))); returns rms(x) for the MLP.
  Tensor add_attention_block(uint32_t i, const Tensor& normed) {
    const LayerWeights& layer = weights_.layers()[i];
    const LayerConfig& shape = config_.layers[i];
    kernels::LinearInput input(normed, label(i, "attn_in.act"));
    const Tensor q = shape.kv_layer == i ? add_qkv(i, input) : add_q(i, input);
    const Tensor mixed = rows("attn_out", shape.q_width());
    kernels::add_attention(graph_, q, state_.columns, state_.caches[i], mixed, shape.n_heads,
                           label(i, "attention"));

    kernels::LinearInput mixed_input(mixed, label(i, "attn_out.act"));
    const Tensor delta = add_product(layer.o, mixed_input, label(i, "attn_output"));
    return add_seam(delta, layer.post_attention_norm, layer.ffn_norm, 1.0f, label(i, "ffn_norm"));
  }

  [[nodiscard]] const Tensor& rope_table(uint32_t i) const {
    const bool sliding = config_.layers[i].kind == LayerKind::sliding;
    return sliding ? state_.rope_sliding : state_.rope_full;
  }

  /// Writes K and V of the columns into the cache; returns q.
  Tensor add_qkv(uint32_t i, kernels::LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const LayerConfig& shape = config_.layers[i];
    const Tensor q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const Tensor k_raw = add_product(layer.k, input, label(i, "attn_k"));
    const Tensor v_raw = shape.k_is_v ? k_raw : add_product(layer.v, input, label(i, "attn_v"));
    const Tensor q = rows("q", shape.q_width());
    kernels::add_rope_kv(graph_,
                         {.q_raw = q_raw,
                          .k_raw = k_raw,
                          .v_raw = v_raw,
                          .q_norm = layer.q_norm,
                          .k_norm = layer.k_norm,
                          .columns = state_.columns,
                          .table = rope_table(i),
                          .q = q,
                          .eps = config_.rms_eps},
                         state_.caches[i], label(i, "rope_kv"));
    return q;
  }

  /// q of a layer that reads the K and V of another one.
  Tensor add_q(uint32_t i, kernels::LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const Tensor q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const Tensor q = rows("q", config_.layers[i].q_width());
    kernels::add_rope_q(graph_,
                        {q_raw, layer.q_norm, state_.columns, rope_table(i), q, config_.rms_eps},
                        label(i, "rope_q"));
    return q;
  }

  /// x = (x + rms(mlp(normed))) * scale; returns rms(x) for the next layer or the head.
  Tensor add_mlp_block(uint32_t i, const Tensor& normed) {
    const LayerWeights& layer = weights_.layers()[i];
    kernels::LinearInput input(normed, label(i, "ffn_in.act"));
    const Tensor gate = add_product(layer.gate, input, label(i, "ffn_gate"));
    const Tensor up = add_product(layer.up, input, label(i, "ffn_up"));
    const Tensor activated = rows("geglu", config_.layers[i].ffn_width);
    kernels::add_geglu(graph_, gate, up, activated, label(i, "geglu"));

    kernels::LinearInput down_input(activated, label(i, "ffn_out.act"));
    const Tensor mlp = add_product(layer.down, down_input, label(i, "ffn_down"));
    const Tensor delta = config_.experts.n == 0 ? mlp : add_experts(i, mlp);
    if (config_.per_layer_width == 0) {
      return add_seam(delta, layer.post_ffw_norm, next_norm(i), layer.scale,
                      label(i, "post_ffw_norm"));
    }
    kernels::add_residual_norm(
        graph_, {.delta = delta, .post = layer.post_ffw_norm, .x = x_, .eps = config_.rms_eps},
        label(i, "post_ffw_norm"));
    return add_per_layer_block(i);
  }

  /// rms(mlp) + rms(experts(x)): what a layer with experts adds to the residual stream.
  Tensor add_experts(uint32_t i, const Tensor& mlp) {
    const ExpertWeights& weights = weights_.layers()[i].experts;
    const auto add_norm = [&](const Tensor& x, const Tensor& norm, std::string_view name) {
      const Tensor y = rows(label(i, name), config_.width);
      kernels::add_rms_norm(graph_, x, norm, y, config_.rms_eps, label(i, name));
      return y;
    };
    kernels::LinearInput router_input(add_norm(x_, weights.router_norm, "router_norm"),
                                      label(i, "router.act"));
    const Tensor scores = add_product(weights.router, router_input, label(i, "router"));
    const kernels::ExpertRouting routing = kernels::add_expert_routing(
        graph_, scores, weights.scale, config_.experts.n_used, label(i, "experts"));

    kernels::LinearInput input(add_norm(x_, weights.in_norm, "pre_ffw_norm_2"),
                               label(i, "experts_in.act"));
    kernels::LinearInput down_input(add_gated_experts(i, input, routing),
                                    label(i, "experts_out.act"));
    const Tensor outs = add_expert_product(weights.down, down_input, routing.tiles, config_.width,
                                           label(i, "ffn_down_exps"));
    const Tensor sum = rows("experts", config_.width);
    kernels::add_expert_sum(graph_, outs, routing, sum, label(i, "expert_sum"));

    const Tensor both = add_norm(mlp, weights.dense_norm, "post_ffw_norm_1");
    kernels::add_residual_norm(
        graph_, {.delta = sum, .post = weights.out_norm, .x = both, .eps = config_.rms_eps},
        label(i, "post_ffw_norm_2"));
    return both;
  }

  /// gelu(gate x) * (up x) of every slot, f32 [n_slots, ffn_width of an expert].
  Tensor add_gated_experts(uint32_t i, kernels::LinearInput& input,
                           const kernels::ExpertRouting& routing) {
    const ExpertWeights& weights = weights_.layers()[i].experts;
    const uint64_t width = config_.experts.ffn_width;
    const Tensor activated =
        graph_.transient("experts_geglu", DType::f32, Shape{routing.weights.shape[0], width});
    const auto product = [&](const kernels::PackedMatrix& w, uint64_t n_rows,
                             std::string_view name) {
      return add_expert_product(w, input, routing.tiles, n_rows, label(i, name));
    };
    if (weights.gate_up.n_rows != 0) {
      const Tensor both = product(weights.gate_up, 2 * width, "ffn_gate_up_exps");
      kernels::add_geglu(graph_, both, {both, width}, activated, label(i, "experts_geglu"));
      return activated;
    }
    const Tensor gate = product(weights.gate, width, "ffn_gate_exps");
    const Tensor up = product(weights.up, width, "ffn_up_exps");
    kernels::add_geglu(graph_, gate, up, activated, label(i, "experts_geglu"));
    return activated;
  }

  Tensor add_expert_product(const kernels::PackedMatrix& w, kernels::LinearInput& input,
                            const kernels::ExpertTiles& tiles, uint64_t n_rows,
                            const std::string& name) {
    const Tensor y = graph_.transient(name, DType::f32, Shape{tiles.slots.shape[0], n_rows});
    kernels::add_expert_product(graph_, w, input.operand(graph_, w.linear_class), tiles, y, name);
    return y;
  }

  /// x = (x + rms(proj(gelu(gate x) * input of the layer))) * scale; returns rms(x) for what
  /// follows.
  Tensor add_per_layer_block(uint32_t i) {
    const LayerWeights& layer = weights_.layers()[i];
    kernels::LinearInput input(x_, label(i, "inp_gate.act"));
    const Tensor gate = add_product(layer.per_layer_gate, input, label(i, "inp_gate"));
    const Tensor gated = rows("per_layer_gated", config_.per_layer_width);
    const kernels::ColumnSlice own(per_layer_, uint64_t{i} * config_.per_layer_width);
    kernels::add_geglu(graph_, gate, own, gated, label(i, "per_layer_geglu"));
    kernels::LinearInput gated_input(gated, label(i, "proj.act"));
    const Tensor delta = add_product(layer.per_layer_proj, gated_input, label(i, "proj"));
    return add_seam(delta, layer.per_layer_norm, next_norm(i), layer.scale, label(i, "post_norm"));
  }

  /// The norm in front of what follows layer i.
  [[nodiscard]] const Tensor& next_norm(uint32_t i) const {
    const bool last = i + 1 == config_.n_layers;
    return last ? weights_.output_norm() : weights_.layers()[i + 1].attn_norm;
  }

  Tensor add_seam(const Tensor& delta, const Tensor& post, const Tensor& next, float scale,
                  std::string name) {
    const Tensor normed = rows("normed", config_.width);
    kernels::add_residual_norm(graph_, {delta, post, x_, next, normed, scale, config_.rms_eps},
                               std::move(name));
    return normed;
  }

  Graph& graph_;  // Borrowed from the caller, like the three below.
  const ModelConfig& config_;
  const Weights& weights_;
  const DecoderState& state_;
  uint64_t n_columns_;
  Tensor x_;          // f32 [n_columns, width]: residual stream
  Tensor per_layer_;  // f32 [n_columns, n_layers * per_layer_width]; E2B and E4B
};

}  // namespace

Tensor add_decoder(Graph& graph, const ModelConfig& config, const Weights& weights,
                   const DecoderState& state, const DecoderOptions& options) {
  KL_CHECK(state.caches.size() == config.n_layers, "one cache for each layer");
  return DecoderBuilder(graph, config, weights, state).build(options);
}

}  // namespace kimberlite::model
