#include "model/conformer.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "kernels/conv2d.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/light_conv.hpp"
#include "kernels/linear.hpp"
#include "kernels/local_attention.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/silu.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearInput;

namespace {

constexpr float kEps = ConformerConfig::kEps;

/// One layer; holds what its blocks need. A block is given the normed rows and leaves those of the
/// next one.
class LayerBuilder {
 public:
  LayerBuilder(Graph& graph, const ConformerConfig& config, const ConformerWeights& all,
               uint32_t index, const Tensor& x)
      : graph_(graph),
        config_(config),
        positions_(all.positions),
        w_(all.layers[index]),
        prefix_(fmt::format("a.blk.{}.", index)),
        x_(x) {}

  void build(const Tensor& y) {
    const Tensor normed = rows("ffn_norm");
    kernels::add_rms_norm(graph_, x_, w_.first.norm, normed, kEps, label("ffn_norm"));
    Tensor next = add_half_step(w_.first, normed, "", w_.attention_norm, {});
    next = add_attention(next);
    next = add_light_conv(next);
    add_half_step(w_.second, next, "_1", w_.out_norm, y);
  }

 private:
  [[nodiscard]] std::string label(const std::string& name) const { return prefix_ + name; }
  Tensor rows(const std::string& name, uint64_t width = 0) {
    return graph_.transient(label(name), DType::f32,
                            Shape{x_.shape[0], width == 0 ? config_.width : width});
  }
  Tensor product(const ClippedLinearWeights& w, ClippedInput& input, const std::string& name) {
    const Tensor y = rows(name, w.matrix.n_rows);
    add_clipped_linear(graph_, w, input, y, label(name));
    return y;
  }

  /// x += rms(delta) * post, or delta as it is without one; the result is rms(x) * next.
  Tensor add_seam(const Tensor& delta, const Tensor& post, const Tensor& next, const Tensor& y,
                  const std::string& name) {
    const Tensor result = y.valid() ? y : rows(name);
    kernels::add_residual_norm(
        graph_, {.delta = delta, .post = post, .x = x_, .next = next, .y = result, .eps = kEps},
        label(name));
    return result;
  }

  Tensor add_half_step(const HalfStepWeights& w, const Tensor& normed, const std::string& suffix,
                       const Tensor& next, const Tensor& y) {
    ClippedInput input(normed, label("ffn_up.in" + suffix));
    const Tensor up = product(w.up, input, "ffn_up" + suffix);
    kernels::add_silu(graph_, up, up, label("ffn_act" + suffix));
    ClippedInput activated(up, label("ffn_down.in" + suffix));
    const Tensor down = product(w.down, activated, "ffn_down" + suffix);
    return add_seam(down, w.post_norm, next, y, "ffn_post_norm" + suffix);
  }

  Tensor add_attention(const Tensor& normed) {
    ClippedInput input(normed, label("attn.in"));
    kernels::LocalAttention attention;
    attention.q = product(w_.q, input, "attn_q");
    attention.k = product(w_.k, input, "attn_k");
    attention.v = product(w_.v, input, "attn_v");
    attention.relative = graph_.transient(label("attn_k_rel"), DType::f32, positions_.shape);
    LinearInput positions(positions_, label("attn_k_rel.in"));
    kernels::add_linear(graph_, w_.relative, positions, attention.relative, label("attn_k_rel"));
    attention.scale = w_.scale;
    attention.out = rows("attn");
    attention.k_scale = static_cast<float>(std::log1p(std::numbers::e) / std::numbers::ln2);
    attention.cap = ConformerConfig::kCap;
    kernels::add_local_attention(graph_, attention, label("attn"));
    ClippedInput heads(attention.out, label("attn_out.in"));
    const Tensor out = product(w_.attention_out, heads, "attn_out");
    return add_seam(out, w_.attention_post_norm, w_.conv_norm, {}, "attn_post_norm");
  }

  Tensor add_light_conv(const Tensor& normed) {
    ClippedInput input(normed, label("conv_pw1.in"));
    const Tensor gated = product(w_.conv_in, input, "conv_pw1");
    const Tensor convolved = rows("conv_dw");
    kernels::add_light_conv(
        graph_,
        {.x = gated, .taps = w_.taps, .weight = w_.conv_inner_norm, .y = convolved, .eps = kEps},
        label("conv_dw"));
    ClippedInput inner(convolved, label("conv_pw2.in"));
    const Tensor out = product(w_.conv_out, inner, "conv_pw2");
    return add_seam(out, {}, w_.second.norm, {}, "ffn_norm_1");
  }

  Graph& graph_;  // Borrowed, like the next.
  const ConformerConfig& config_;
  const Tensor positions_;
  const ConformerLayerWeights& w_;
  const std::string prefix_;
  const Tensor x_;  // residual stream
};

}  // namespace

void add_conformer_input(Graph& graph, const ConformerConfig& config,
                         const ConformerWeights& weights, const MelInputs& inputs,
                         const Tensor& x) {
  const uint64_t n = x.shape[0];
  constexpr uint64_t kBins = ConformerConfig::kMelBins;
  Tensor channels = inputs.frames.reshaped(Shape{4 * n, kBins, 1});
  for (uint32_t i = 0; i < weights.convolutions.size(); ++i) {
    const ConvolutionWeights& w = weights.convolutions[i];
    const std::string name = fmt::format("a.conv1d.{}", i);
    const Tensor y = graph.transient(
        name, DType::f32,
        Shape{channels.shape[0] / 2, channels.shape[1] / 2, uint64_t{config.channels[i]}});
    kernels::add_conv2d(graph,
                        {.x = channels,
                         .sizes = inputs.sizes,
                         .size_index = i,
                         .taps = w.taps,
                         .weight = w.norm,
                         .y = y,
                         .eps = kEps},
                        name);
    channels = y;
  }
  LinearInput flat(channels.reshaped(Shape{n, config.n_input()}), "a.input_projection.in");
  kernels::add_linear(graph, weights.input, flat, x, "a.input_projection");
}

void add_conformer_layer(Graph& graph, const ConformerConfig& config,
                         const ConformerWeights& weights, uint32_t index, const Tensor& x,
                         const Tensor& y) {
  LayerBuilder(graph, config, weights, index, x).build(y);
}

void add_conformer_output(Graph& graph, const ConformerConfig& config, const AudioWeights& weights,
                          const Tensor& x, const Tensor& embeddings) {
  const Shape shape{x.shape[0], config.output_width};
  LinearInput input(x, "a.pre_encode.out.in");
  const Tensor out = graph.transient("a.pre_encode.out", DType::f32, shape);
  kernels::add_linear(graph, weights.conformer.output, input, out, "a.pre_encode.out");
  LinearInput normed(graph, "mm.a.input_projection.in", shape[0], shape[1], {&weights.projection});
  KL_CHECK(normed.rows().f32.valid(), "a projector computes in float32");
  kernels::add_layer_norm(graph,
                          {.x = out,
                           .shift = weights.conformer.output_bias,
                           .weight = weights.ones,
                           .y = normed.rows().f32,
                           .eps = kEps},
                          "mm.a.norm");
  kernels::add_linear(graph, weights.projection, normed, embeddings, "mm.a.input_projection");
}

}  // namespace kimberlite::model
