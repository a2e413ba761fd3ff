#include "model/decoder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/embed.hpp"
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

  /// x += rms(o(attention(normed))); returns rms(x) for the MLP.
  Tensor add_attention_block(uint32_t i, const Tensor& normed) {
    const LayerWeights& layer = weights_.layers()[i];
    const LayerConfig& shape = config_.layers[i];
    kernels::LinearInput input(normed, label(i, "attn_in.act"));
    const Tensor q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const Tensor k_raw = add_product(layer.k, input, label(i, "attn_k"));
    const Tensor v_raw = shape.k_is_v ? k_raw : add_product(layer.v, input, label(i, "attn_v"));

    const Tensor q = rows("q", shape.q_width());
    const bool sliding = shape.kind == LayerKind::sliding;
    kernels::add_rope_kv(graph_,
                         {.q_raw = q_raw,
                          .k_raw = k_raw,
                          .v_raw = v_raw,
                          .q_norm = layer.q_norm,
                          .k_norm = layer.k_norm,
                          .columns = state_.columns,
                          .table = sliding ? state_.rope_sliding : state_.rope_full,
                          .q = q,
                          .eps = config_.rms_eps},
                         state_.caches[i], label(i, "rope_kv"));
    const Tensor mixed = rows("attn_out", shape.q_width());
    kernels::add_attention(graph_, q, state_.columns, state_.caches[i], mixed, shape.n_heads,
                           label(i, "attention"));

    kernels::LinearInput mixed_input(mixed, label(i, "attn_out.act"));
    const Tensor delta = add_product(layer.o, mixed_input, label(i, "attn_output"));
    return add_seam(delta, layer.post_attention_norm, layer.ffn_norm, 1.0f, label(i, "ffn_norm"));
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
    const Tensor delta = add_product(layer.down, down_input, label(i, "ffn_down"));
    const bool last = i + 1 == config_.n_layers;
    const Tensor& next = last ? weights_.output_norm() : weights_.layers()[i + 1].attn_norm;
    return add_seam(delta, layer.post_ffw_norm, next, layer.scale, label(i, "post_ffw_norm"));
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
  Tensor x_;  // f32 [n_columns, width]: residual stream
};

}  // namespace

Tensor add_decoder(Graph& graph, const ModelConfig& config, const Weights& weights,
                   const DecoderState& state, const DecoderOptions& options) {
  KL_CHECK(state.caches.size() == config.n_layers, "one cache for each layer");
  return DecoderBuilder(graph, config, weights, state).build(options);
}

}  // namespace kimberlite::model
