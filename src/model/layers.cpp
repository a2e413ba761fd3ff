#include "model/layers.hpp"

#include <fmt/format.h>

#include <optional>

#include "kernels/expert_seam.hpp"
#include "kernels/experts.hpp"
#include "kernels/geglu.hpp"
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
class LayerBuilder {
 public:
  LayerBuilder(Graph& graph, const LayerStack& stack)
      : graph_(graph),
        stack_(stack),
        config_(stack.config),
        n_columns_(stack.columns.shape[0]),
        x_(stack.x) {}

  LinearInput build() {
    LinearInput normed = make_layer_input(0);
    // Of no layer: the others' first norms are part of the seams before them.
    kernels::add_rms_norm(graph_, x_, layer_norm(0), normed.rows(), config_.rms_eps,
                          fmt::format("{}first_norm", stack_.prefix));
    for (uint32_t i = 0; i < stack_.n_layers; ++i) {
      MlpInputs inputs = add_attention_block(i, normed);
      normed = add_mlp_block(i, inputs);
    }
    return normed;
  }

 private:
  Tensor rows(std::string name, uint64_t width) {
    return graph_.transient(std::move(name), DType::f32, Shape{n_columns_, width});
  }
  [[nodiscard]] std::string label(uint32_t layer, std::string_view name) const {
    return fmt::format("{}blk.{}.{}", stack_.prefix, layer, name);
  }
  LinearInput input_rows(std::string name, uint64_t width, LinearInput::Readers readers) {
    return {graph_, std::move(name), n_columns_, width, readers};
  }
  Tensor add_product(const PackedMatrix& matrix, LinearInput& input, std::string name) {
    const Tensor y = rows(name, matrix.n_rows);
    kernels::add_linear(graph_, matrix, input, y, name);
    return y;
  }

  /// What the inputs of an MLP are: without experts the first alone.
  struct MlpInputs {
    LinearInput dense;
    std::optional<LinearInput> experts;
    std::optional<kernels::ExpertRouting> routing;
  };

  /// Activations in front of layer i; behind the last one they are the result.
  LinearInput make_layer_input(uint32_t i) {
    if (i == stack_.n_layers) {
      const PackedMatrix none;
      const auto reader = [&](size_t n) {
        return stack_.readers[n] != nullptr ? stack_.readers[n] : &none;
      };
      const std::string name = fmt::format("{}result", stack_.prefix);
      const Tensor f32 = stack_.result.valid() ? stack_.result : rows(name, config_.width);
      return {graph_, name, f32, {reader(0), reader(1), reader(2)}};
    }
    const LayerWeights& layer = stack_.weights[i];
    return input_rows(label(i, "attn_in"), config_.width, {&layer.q, &layer.k, &layer.v});
  }

  /// The norm in front of layer i; behind the last layer that of the result.
  [[nodiscard]] const Tensor& layer_norm(uint32_t i) const {
    return i == config_.n_layers ? stack_.output_norm : stack_.weights[i].attn_norm;
  }

  /// x += rms(o(attention(normed))); the MLP gets rms(x).
  MlpInputs add_attention_block(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = stack_.weights[i];
    const LayerConfig& shape = config_.layers[i];
    const Tensor q = shape.kv_layer == i ? add_qkv(i, input) : add_q(i, input);
    LinearInput mixed = input_rows(label(i, "attn_out"), shape.q_width(), {&layer.o});
    kernels::add_attention(graph_, q, stack_.columns, stack_.caches[i], mixed.rows(), shape.n_heads,
                           label(i, "attention"), stack_.own_key);
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
    inputs.experts = input_rows(label(i, "experts_in"), config_.width, readers);
    inputs.routing = kernels::add_expert_seam(
        graph_, seam, experts.in_norm, inputs.experts->rows(),
        {experts.router_norm,
         experts.router,
         experts.scale,
         {config_.experts.n_used, {&experts.gate, &experts.up, &experts.down}}},
        label(i, "experts"));
    return inputs;
  }

  [[nodiscard]] const Tensor& rope_table(uint32_t i) const {
    const bool sliding = config_.layers[i].kind == LayerKind::sliding;
    return sliding ? stack_.rope_sliding : stack_.rope_full;
  }

  /// Writes K and V of the columns into the cache; returns q.
  Tensor add_qkv(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = stack_.weights[i];
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
                          .columns = stack_.columns,
                          .table = rope_table(i),
                          .q = q,
                          .eps = config_.rms_eps},
                         stack_.caches[i], label(i, "rope_kv"));
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
    const LayerWeights& layer = stack_.weights[i];
    const Tensor q_raw = add_product(layer.q, input, label(i, "attn_q"));
    const Tensor q = rows("q", config_.layers[i].q_width());
    kernels::add_rope_q(graph_,
                        {q_raw, layer.q_norm, stack_.columns, rope_table(i), q, config_.rms_eps},
                        label(i, "rope_q"));
    return q;
  }

  /// x = (x + rms(mlp)) * scale; returns rms(x) for what follows.
  LinearInput add_mlp_block(uint32_t i, MlpInputs& inputs) {
    const LayerWeights& layer = stack_.weights[i];
    LinearInput activated = add_gate_up(i, inputs.dense);
    // Beside those of the dense block, which they do not depend on.
    std::optional<LinearInput> of_experts;
    if (config_.experts.n != 0) of_experts = add_experts_gate_up(i, inputs);
    const Tensor mlp = add_product(layer.down, activated, label(i, "ffn_down"));
    if (config_.per_layer_width != 0) return add_per_layer_block(i, mlp);
    kernels::ResidualNorm seam = make_seam(mlp, layer.post_ffw_norm);
    LinearInput next = make_layer_input(i + 1);
    seam.next = layer_norm(i + 1);
    seam.y = next.rows();
    seam.scale = layer.scale;
    if (of_experts) {
      add_experts_down(i, *of_experts, *inputs.routing, seam);
    } else {
      kernels::add_residual_norm(graph_, seam, label(i, "post_ffw_norm"));
    }
    return next;
  }

  /// gelu(gate x) * (up x).
  LinearInput add_gate_up(uint32_t i, LinearInput& input) {
    const LayerWeights& layer = stack_.weights[i];
    const uint64_t width = config_.layers[i].ffn_width;
    LinearInput activated = input_rows(label(i, "ffn_out"), width, {&layer.down});
    if (layer.gate.gated) {
      kernels::add_linear(graph_, layer.gate, input, activated.rows(), label(i, "ffn_gate_up"));
    } else {
      const Tensor gate = add_product(layer.gate, input, label(i, "ffn_gate"));
      const Tensor up = add_product(layer.up, input, label(i, "ffn_up"));
      kernels::add_geglu(graph_, gate, up, activated.rows(), width, label(i, "geglu"));
    }
    return activated;
  }

  void add_expert_product(const PackedMatrix& w, uint64_t n_rows, LinearInput& input,
                          const kernels::ExpertRouting& routing, const kernels::ActivationRows& y,
                          const std::string& name) {
    kernels::add_expert_product(graph_, w, n_rows, input.operand(graph_, w.linear_class),
                                routing.tiles, y, name);
  }

  /// The same of the experts of each column: a row for each slot.
  LinearInput add_experts_gate_up(uint32_t i, MlpInputs& inputs) {
    const ExpertWeights& weights = stack_.weights[i].experts;
    const kernels::ExpertRouting& routing = *inputs.routing;
    const uint64_t n_slots = routing.weights.shape[0];
    const uint64_t width = config_.experts.ffn_width;
    LinearInput activated(graph_, label(i, "experts_out"), n_slots, width, {&weights.down});
    if (weights.gate.gated) {
      add_expert_product(weights.gate, 2 * width, *inputs.experts, routing, activated.rows(),
                         label(i, "ffn_gate_up_exps"));
    } else {
      const Tensor gate = graph_.transient("gate_exps", DType::f32, Shape{n_slots, width});
      const Tensor up = graph_.transient("up_exps", DType::f32, Shape{n_slots, width});
      add_expert_product(weights.gate, width, *inputs.experts, routing, gate,
                         label(i, "ffn_gate_exps"));
      add_expert_product(weights.up, width, *inputs.experts, routing, up, label(i, "ffn_up_exps"));
      kernels::add_geglu(graph_, gate, up, activated.rows(), width, label(i, "experts_geglu"));
    }
    return activated;
  }

  /// The seam of a layer with experts: adds rms(mlp) + rms(experts(x)); its delta is the mlp.
  void add_experts_down(uint32_t i, LinearInput& activated, const kernels::ExpertRouting& routing,
                        kernels::ResidualNorm& seam) {
    const ExpertWeights& weights = stack_.weights[i].experts;
    const uint64_t n_slots = routing.weights.shape[0];
    const Tensor outs = graph_.transient("down_exps", DType::f32, Shape{n_slots, config_.width});
    add_expert_product(weights.down, config_.width, activated, routing, outs,
                       label(i, "ffn_down_exps"));
    const Tensor mlp = seam.delta;
    seam.delta = rows(label(i, "experts"), config_.width);
    kernels::add_expert_sum(graph_,
                            {mlp, weights.dense_norm, outs, weights.out_norm, routing.weights},
                            seam, label(i, "post_ffw_norm"));
  }

  /// x += rms(mlp), then x = (x + rms(proj(gelu(gate x) * input of the layer))) * scale; returns
  /// rms(x) for what follows.
  LinearInput add_per_layer_block(uint32_t i, const Tensor& mlp) {
    const LayerWeights& layer = stack_.weights[i];
    LinearInput input(x_, label(i, "inp_gate_in"));
    kernels::ResidualNorm add = make_seam(mlp, layer.post_ffw_norm);
    add.y = input.add_rounded(graph_, {&layer.per_layer_gate});
    kernels::add_residual_norm(graph_, add, label(i, "post_ffw_norm"));

    const uint64_t width = config_.per_layer_width;
    const Tensor gate = add_product(layer.per_layer_gate, input, label(i, "inp_gate"));
    LinearInput gated = input_rows(label(i, "proj_in"), width, {&layer.per_layer_proj});
    kernels::add_geglu(graph_, gate, {stack_.per_layer, i * width}, gated.rows(), width,
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

  Graph& graph_;  // Borrowed from the caller, like the two below.
  const LayerStack& stack_;
  const ModelConfig& config_;
  uint64_t n_columns_;
  Tensor x_;
};

}  // namespace

LinearInput add_layers(Graph& graph, const LayerStack& stack) {
  KL_CHECK(stack.caches.size() == stack.config.n_layers, "one cache for each layer");
  return LayerBuilder(graph, stack).build();
}

}  // namespace kimberlite::model
