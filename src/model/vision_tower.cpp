#include "model/vision_tower.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/add_rows.hpp"
#include "kernels/embed.hpp"
#include "kernels/geglu.hpp"
#include "kernels/linear.hpp"
#include "kernels/patch_pool.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope_2d.hpp"
#include "kernels/tower_attention.hpp"
#include "model/projector.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearInput;

namespace {

/// Some rows of one layer of a picture.
class LayerRows {
 public:
  LayerRows(Graph& graph, const VisionConfig& config, const VisionWeights& weights,
            const TowerPicture& picture, uint32_t layer, RowRange range)
      : graph_(graph),
        config_(config),
        weights_(weights.tower),
        layer_(weights.tower.layers[layer]),
        picture_(picture),
        range_(range),
        name_(fmt::format("v.blk.{}.", layer)),
        x_(of(picture.x)) {}

  void add_keys() {
    ClippedInput normed = add_attn_norm();
    const Tensor k = of(picture_.k), v = of(picture_.v);
    add_clipped_linear(graph_, layer_.k, normed, k, name_ + "attn_k");
    add_clipped_linear(graph_, layer_.v, normed, v, name_ + "attn_v");
    turn(k, layer_.k_norm, "attn_k_norm");
    kernels::add_rope_2d(graph_, {.x = v, .weight = weights_.head_ones, .eps = config_.rms_eps},
                         name_ + "attn_v_norm");
  }

  void add_rest() {
    const Tensor attended = add_attention();
    ClippedInput heads(attended, name_ + "attn_out");
    const Tensor out = rows("attn_out", config_.width);
    add_clipped_linear(graph_, layer_.o, heads, out, name_ + "attn_out");
    const Tensor normed = rows("ln2", config_.width);
    kernels::add_residual_norm(graph_,
                               {.delta = out,
                                .post = layer_.post_attn_norm,
                                .x = x_,
                                .next = layer_.ffn_norm,
                                .y = normed,
                                .eps = config_.rms_eps},
                               name_ + "attn_post_norm");
    const Tensor down = add_ffn(normed);
    kernels::add_residual_norm(
        graph_, {.delta = down, .post = layer_.post_ffn_norm, .x = x_, .eps = config_.rms_eps},
        name_ + "ffn_post_norm");
  }

 private:
  [[nodiscard]] Tensor of(const Tensor& all) const { return all.rows(range_.first, range_.n); }
  [[nodiscard]] Tensor rows(const char* part, uint64_t width) const {
    return graph_.transient(name_ + part, DType::f32, Shape{range_.n, width});
  }

  ClippedInput add_attn_norm() {
    const Tensor normed = rows("ln1", config_.width);
    kernels::add_rms_norm(graph_, x_, layer_.attn_norm, normed, config_.rms_eps, name_ + "ln1");
    return {normed, name_ + "ln1"};
  }

  void turn(const Tensor& x, const Tensor& weight, const char* part) {
    kernels::add_rope_2d(graph_,
                         {.x = x,
                          .weight = weight,
                          .places = of(picture_.places),
                          .table = picture_.angles,
                          .eps = config_.rms_eps},
                         name_ + part);
  }

  Tensor add_attention() {
    ClippedInput normed = add_attn_norm();
    const Tensor q = rows("attn_q", config_.width);
    add_clipped_linear(graph_, layer_.q, normed, q, name_ + "attn_q");
    turn(q, layer_.q_norm, "attn_q_norm");
    const Tensor attended = rows("attn", config_.width);
    kernels::add_tower_attention(graph_,
                                 {.q = q,
                                  .k = picture_.k,
                                  .v = picture_.v,
                                  .y = attended,
                                  .head_dim = config_.tower->head_dim,
                                  .n_keys = picture_.n_patches},
                                 name_ + "attn");
    return attended;
  }

  Tensor add_ffn(const Tensor& x) {
    ClippedInput input(x, name_ + "ln2");
    const uint64_t width = config_.tower->ffn_width;
    const Tensor gate = rows("ffn_gate", width), up = rows("ffn_up", width);
    add_clipped_linear(graph_, layer_.gate, input, gate, name_ + "ffn_gate");
    add_clipped_linear(graph_, layer_.up, input, up, name_ + "ffn_up");
    kernels::add_geglu(graph_, gate, up, gate, width, name_ + "ffn_act");
    ClippedInput gated(gate, name_ + "ffn_act");
    const Tensor down = rows("ffn_down", config_.width);
    add_clipped_linear(graph_, layer_.down, gated, down, name_ + "ffn_down");
    return down;
  }

  Graph& graph_;  // Borrowed from the caller, like all that follow.
  const VisionConfig& config_;
  const TowerWeights& weights_;
  const TowerLayerWeights& layer_;
  const TowerPicture& picture_;
  RowRange range_;
  std::string name_;
  Tensor x_;
};

}  // namespace

void add_tower_patches(Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                       const TowerPicture& picture, RowRange range) {
  const auto of = [&](const Tensor& all) { return all.rows(range.first, range.n); };
  const Shape shape{range.n, config.width};
  const Tensor x = of(picture.x);
  LinearInput values(of(picture.values), "v.patch_embd.act");
  kernels::add_linear(graph, weights.patch, values, x, "v.patch_embd");
  const Tensor by_column = graph.transient("column_embd", DType::f32, shape);
  const Tensor by_row = graph.transient("row_embd", DType::f32, shape);
  kernels::add_embed(graph, weights.positions, of(picture.columns), by_column, 1.0f,
                     "v.position_embd.x");
  kernels::add_embed(graph, weights.positions, of(picture.rows), by_row, 1.0f, "v.position_embd.y");
  kernels::add_add_rows(graph, by_column, by_row, x, "v.position_embd");
}

void add_tower_keys(Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                    const TowerPicture& picture, uint32_t layer, RowRange range) {
  LayerRows(graph, config, weights, picture, layer, range).add_keys();
}

void add_tower_layer(Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                     const TowerPicture& picture, uint32_t layer, RowRange range) {
  LayerRows(graph, config, weights, picture, layer, range).add_rest();
}

void add_tower_tokens(Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                      const TowerPicture& picture, const Tensor& embeddings) {
  const uint32_t merge = config.tower->merge;
  const uint64_t n_tokens = picture.n_patches / (merge * merge);
  const Tensor pooled =
      graph.transient("pooled", DType::f32, Shape{embeddings.shape[0], config.width});
  kernels::add_patch_pool(graph,
                          {.x = picture.x,
                           .bias = weights.tower.std_bias,
                           .factor = weights.tower.std_factor,
                           .y = pooled.rows(0, n_tokens),
                           .n_x = picture.n_x,
                           .merge = merge,
                           .scale = std::sqrt(static_cast<float>(config.width))},
                          "v.pool");
  add_projection(graph, pooled, weights.ones, config.rms_eps, weights.projection, embeddings,
                 "mm.input_projection");
}

uint64_t count_key_macs(const VisionConfig& config, uint64_t n_rows) {
  return n_rows * 2 * config.width * config.width;
}

uint64_t count_layer_macs(const VisionConfig& config, uint64_t n_rows, uint64_t n_keys) {
  const uint64_t width = config.width;
  const uint64_t products = 2 * width * width + 3 * width * config.tower->ffn_width;
  return n_rows * (products + 2 * n_keys * width);
}

}  // namespace kimberlite::model
