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
using kernels::LinearInput;
using kernels::PackedMatrix;

/// Adds the layers one after another; holds what they all need.
class DecoderBuilder {
 public:
  DecoderBuilder(Graph& graph, const ModelConfig& config, const Weights& weights,
                 const DecoderState& state, const DecoderOptions& options)
      : graph_(graph),
        config_(config),
        weights_(weights),
        state_(state),
        options_(options),
        n_layers_(std::min(config.n_layers, options.n_layers)),
        n_columns_(state.columns.shape[0]) {}

  Tensor build() {
    x_ = options_.residual.value_or(rows("x", config_.width));
    kernels::add_embed(graph_, weights_.embedding(), state_.columns, x_, config_.embedding_scale,
                       "token_embd");
    if (config_.per_layer_width != 0) add_per_layer_inputs();
    LinearInput normed = make_layer_input(0);
    kernels::add_rms_norm(graph_, x_, layer_norm(0), normed.rows(), config_.rms_eps,
                          "blk.0.attn_norm");
    for (uint32_t i = 0; i < n_layers_; ++i) {
      MlpInputs inputs = add_attention_block(i, normed);
      normed = add_mlp_block(i, inputs);
    }
    if (options_.logits) {
      kernels::add_linear(graph_, weights_.head(), normed, *options_.logits, "output",
                          {.softcap = config_.softcap});
    }
    return normed.rows().f32;
  }

 private:
  Tensor rows(std::string name, uint64_t width) {
    return graph_.transient(std::move(name), DType::f32, Shape{n_columns_, width});
  }
  static std::string label(uint32_t layer, std::string_view name) {
    return fmt::format("blk.{}.{}", layer, name);
  }
  LinearInput input_rows(std::string name, uint64_t width, LinearInput::Readers readers,
                         bool keep = false) {
    return {graph_, std::move(name), n_columns_, width, readers, keep};
  }
  Tensor add_product(const PackedMatrix& matrix, LinearInput& input, std::string name) {
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
    LinearInput input(x_, "per_layer_model_proj.act");
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

  /// What the inputs of an MLP are: without experts the first alone.
  struct MlpInputs {
    LinearInput dense;
    std::optional<LinearInput> router;
    std::optional<LinearInput> experts;
  };

  /// Activations in front of layer i; behind the last one they are the result.
  LinearInput make_layer_input(uint32_t i) {
    if (i == n_layers_) {
      const PackedMatrix none;
      return input_rows("result", config_.width, {options_.logits ? &weights_.head() : &none},
                        /*keep=*/true);
    }
    const LayerWeights& layer = weights_.layers()[i];
    return input_rows(label(i, "attn_in"), config_.width, {&layer.q, &layer.k, &layer.v});
  }

  /// The norm in front of layer i; behind the last layer that of the result.
  [[nodiscard]] const Tensor& layer_norm(uint32_t i) const {
    return i == config_.n_layers ? weights_.output_norm() : weights_.layers()[i].attn_norm;
  }

  /// x += rms(o(attention(normed))); the MLP gets rms(x).
  MlpInputs add_attention_block(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const LayerConfig& shape = config_.layers[i];
    const Tensor q = shape.kv_layer == i ? add_qkv(i, input) : add_q(i, input);
    LinearInput mixed = input_rows(label(i, "attn_out"), shape.q_width(), {&layer.o});
    kernels::add_attention(graph_, q, state_.columns, state_.caches[i], mixed.rows(), shape.n_heads,
                           label(i, "attention"));
    const Tensor delta = add_product(layer.o, mixed, label(i, "attn_output"));

    const ExpertWeights& experts = layer.experts;
    const LinearInput::Readers readers{&layer.gate, &layer.up, &experts.gate, &experts.up};
    MlpInputs inputs{input_rows(label(i, "ffn_in"), config_.width, readers), {}, {}};
    kernels::ResidualNorm seam = make_seam(delta, layer.post_attention_norm);
    seam.next = layer.ffn_norm;
    seam.y = inputs.dense.rows();
    if (config_.experts.n == 0) {
      kernels::add_residual_norm(graph_, seam, label(i, "ffn_norm"));
      return inputs;
    }
    const Tensor router_rows = rows(label(i, "router_in"), config_.width);
    inputs.router.emplace(router_rows, label(i, "router_in"));
    inputs.experts = input_rows(label(i, "experts_in"), config_.width, readers);
    kernels::add_expert_inputs(
        graph_, seam, {experts.router_norm, router_rows, experts.in_norm, inputs.experts->rows()},
        label(i, "ffn_norm"));
    return inputs;
  }

  [[nodiscard]] const Tensor& rope_table(uint32_t i) const {
    const bool sliding = config_.layers[i].kind == LayerKind::sliding;
    return sliding ? state_.rope_sliding : state_.rope_full;
  }

  /// Writes K and V of the columns into the cache; returns q.
  Tensor add_qkv(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const LayerConfig& shape = config_.layers[i];
    const kernels::ColumnSlice q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const kernels::ColumnSlice k_raw =
        add_joined(i, layer.k, input, "attn_k", q_raw, shape.q_width());
    const kernels::ColumnSlice v_raw =
        shape.k_is_v ? k_raw : add_joined(i, layer.v, input, "attn_v", k_raw, shape.kv_width());
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

  /// The product with `matrix`, or what stands behind the `width` columns of `before` where the two
  /// are packed as one.
  kernels::ColumnSlice add_joined(uint32_t i, const PackedMatrix& matrix, LinearInput& input,
                                  std::string_view name, const kernels::ColumnSlice& before,
                                  uint64_t width) {
    if (matrix.n_rows == 0) return {before.rows, before.first + width};
    return add_product(matrix, input, label(i, name));
  }

  /// q of a layer that reads the K and V of another one.
  Tensor add_q(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const Tensor q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const Tensor q = rows("q", config_.layers[i].q_width());
    kernels::add_rope_q(graph_,
                        {q_raw, layer.q_norm, state_.columns, rope_table(i), q, config_.rms_eps},
                        label(i, "rope_q"));
    return q;
  }

  /// x = (x + rms(mlp)) * scale; returns rms(x) for what follows.
  LinearInput add_mlp_block(uint32_t i, MlpInputs& inputs) {
    const LayerWeights& layer = weights_.layers()[i];
    const Tensor mlp = add_mlp(i, inputs.dense);
    if (config_.per_layer_width != 0) return add_per_layer_block(i, mlp);
    kernels::ResidualNorm seam = make_seam(mlp, layer.post_ffw_norm);
    LinearInput next = make_layer_input(i + 1);
    seam.next = layer_norm(i + 1);
    seam.y = next.rows();
    seam.scale = layer.scale;
    if (config_.experts.n == 0) {
      kernels::add_residual_norm(graph_, seam, label(i, "post_ffw_norm"));
    } else {
      add_experts(i, inputs, mlp, seam);
    }
    return next;
  }

  /// down(gelu(gate x) * (up x)).
  Tensor add_mlp(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = weights_.layers()[i];
    const uint64_t width = config_.layers[i].ffn_width;
    LinearInput activated = input_rows(label(i, "ffn_out"), width, {&layer.down});
    if (layer.gate.gated) {
      kernels::add_linear(graph_, layer.gate, input, activated.rows(), label(i, "ffn_gate_up"));
    } else {
      const Tensor gate = add_product(layer.gate, input, label(i, "ffn_gate"));
      const Tensor up = add_product(layer.up, input, label(i, "ffn_up"));
      kernels::add_geglu(graph_, gate, up, activated.rows(), width, label(i, "geglu"));
    }
    return add_product(layer.down, activated, label(i, "ffn_down"));
  }

  /// The seam of a layer with experts: adds rms(mlp) + rms(experts(x)).
  void add_experts(uint32_t i, MlpInputs& inputs, const Tensor& mlp, kernels::ResidualNorm& seam) {
    const ExpertWeights& weights = weights_.layers()[i].experts;
    const Tensor scores = add_product(weights.router, *inputs.router, label(i, "router"));
    const kernels::ExpertRouting routing = kernels::add_expert_routing(
        graph_, scores, weights.scale, config_.experts.n_used, label(i, "experts"));
    const uint64_t n_slots = routing.weights.shape[0];
    const kernels::ExpertTiles& tiles = routing.tiles;
    const auto add_expert_product = [&](const PackedMatrix& w, uint64_t n_rows, LinearInput& input,
                                        const kernels::ActivationRows& y, std::string_view name) {
      kernels::add_expert_product(graph_, w, n_rows, input.operand(graph_, w.linear_class), tiles,
                                  y, label(i, name));
    };

    const uint64_t width = config_.experts.ffn_width;
    LinearInput activated(graph_, label(i, "experts_out"), n_slots, width, {&weights.down});
    if (weights.gate.gated) {
      add_expert_product(weights.gate, 2 * width, *inputs.experts, activated.rows(),
                         "ffn_gate_up_exps");
    } else {
      const Tensor gate = graph_.transient("gate_exps", DType::f32, Shape{n_slots, width});
      const Tensor up = graph_.transient("up_exps", DType::f32, Shape{n_slots, width});
      add_expert_product(weights.gate, width, *inputs.experts, gate, "ffn_gate_exps");
      add_expert_product(weights.up, width, *inputs.experts, up, "ffn_up_exps");
      kernels::add_geglu(graph_, gate, up, activated.rows(), width, label(i, "experts_geglu"));
    }
    const Tensor outs = graph_.transient("down_exps", DType::f32, Shape{n_slots, config_.width});
    add_expert_product(weights.down, config_.width, activated, outs, "ffn_down_exps");
    seam.delta = rows(label(i, "experts"), config_.width);
    kernels::add_expert_sum(graph_,
                            {mlp, weights.dense_norm, outs, weights.out_norm, routing.weights},
                            seam, label(i, "post_ffw_norm"));
  }

  /// x += rms(mlp), then x = (x + rms(proj(gelu(gate x) * input of the layer))) * scale; returns
  /// rms(x) for what follows.
  LinearInput add_per_layer_block(uint32_t i, const Tensor& mlp) {
    const LayerWeights& layer = weights_.layers()[i];
    LinearInput input(x_, label(i, "inp_gate_in"));
    kernels::ResidualNorm add = make_seam(mlp, layer.post_ffw_norm);
    add.y = input.add_rounded(graph_, {&layer.per_layer_gate});
    kernels::add_residual_norm(graph_, add, label(i, "post_ffw_norm"));

    const uint64_t width = config_.per_layer_width;
    const Tensor gate = add_product(layer.per_layer_gate, input, label(i, "inp_gate"));
    LinearInput gated = input_rows(label(i, "proj_in"), width, {&layer.per_layer_proj});
    kernels::add_geglu(graph_, gate, {per_layer_, i * width}, gated.rows(), width,
                       label(i, "per_layer_geglu"));
    const Tensor delta = add_product(layer.per_layer_proj, gated, label(i, "proj"));

    LinearInput next = make_layer_input(i + 1);
    kernels::ResidualNorm seam = make_seam(delta, layer.per_layer_norm);
    seam.next = layer_norm(i + 1);
    seam.y = next.rows();
    seam.scale = layer.scale;
    kernels::add_residual_norm(graph_, seam, label(i, "post_norm"));
    return next;
  }

  /// x += rms(delta) * post, to be completed.
  kernels::ResidualNorm make_seam(const Tensor& delta, const Tensor& post) const {
    return {.delta = delta, .post = post, .x = x_, .eps = config_.rms_eps};
  }

  Graph& graph_;  // Borrowed from the caller, like the four below.
  const ModelConfig& config_;
  const Weights& weights_;
  const DecoderState& state_;
  const DecoderOptions& options_;
  uint32_t n_layers_;
  uint64_t n_columns_;
  Tensor x_;          // f32 [n_columns, width]: residual stream
  Tensor per_layer_;  // f32 [n_columns, n_layers * per_layer_width]; E2B and E4B
};

}  // namespace

Tensor add_decoder(Graph& graph, const ModelConfig& config, const Weights& weights,
                   const DecoderState& state, const DecoderOptions& options) {
  KL_CHECK(state.caches.size() == config.n_layers, "one cache for each layer");
  return DecoderBuilder(graph, config, weights, state, options).build();
}

}  // namespace kimberlite::model
