// Shapes here are in GGUF order, input first; Hugging Face lists them the other way round.
#include "formats/convert_tensors.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "formats/convert_drafter.hpp"
#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {
namespace {

constexpr std::string_view kPrefixes[] = {"model.language_model.", "language_model.model.",
                                          "model."};
constexpr std::string_view kHeads[] = {"lm_head.weight", "model.lm_head.weight",
                                       "language_model.lm_head.weight"};

/// The divisors of a full layer's angles: 1e30 stops the pairs that do not rotate.
Status push_rope_freqs(uint64_t n_pairs, uint64_t n_rotated, const ByteSink& sink) {
  std::vector<float> divisors(n_pairs, 1e30f);
  std::fill_n(divisors.begin(), n_rotated, 1.0f);
  return sink(std::as_bytes(std::span(divisors)));
}

class TextPlanner {
 public:
  TextPlanner(const HfTextConfig& config, const Safetensors& files, GgmlType type)
      : c_(config), planner_(files, type) {}

  Result<TensorPlan> plan() {
    KL_TRY(find_prefix());
    KL_TRY(add_matrix("token_embd.weight", "embed_tokens.weight", {c_.hidden, c_.n_vocab}));
    if (!c_.tied_embeddings) KL_TRY(add_head());
    if (c_.per_layer != 0) KL_TRY(add_per_layer_inputs());
    KL_TRY(add_vector("output_norm.weight", "norm.weight", c_.hidden));
    const uint64_t n_pairs = c_.head_dim_full / 2;
    planner_.add({"rope_freqs.weight",
                  GgmlType::f32,
                  {n_pairs},
                  nullptr,
                  [n_pairs, n_rotated = c_.n_rotated_pairs](const ByteSink& sink) {
                    return push_rope_freqs(n_pairs, n_rotated, sink);
                  }});
    if (c_.is_drafter()) KL_TRY(add_drafter_ends(c_, planner_));
    for (uint64_t i = 0; i < c_.n_layers; ++i) KL_TRY(add_layer(i));
    KL_TRY(account_for_the_rest());
    return std::move(planner_.plan());
  }

 private:
  Status find_prefix() {
    for (const std::string_view prefix : kPrefixes) {
      if (!planner_.has(std::string(prefix) + "embed_tokens.weight")) continue;
      prefix_ = prefix;
      return {};
    }
    return Error{ErrorCode::bad_file,
                 fmt::format("no embed_tokens.weight under any of the prefixes {}",
                             fmt::join(kPrefixes, ", "))};
  }

  Status add_vector(std::string name, std::string_view suffix, uint64_t n) {
    return planner_.add_vector(std::move(name), prefix_ + std::string(suffix), n);
  }

  Status add_matrix(std::string name, std::string_view suffix, std::vector<uint64_t> ne) {
    return planner_.add_matrix(std::move(name), prefix_ + std::string(suffix), std::move(ne));
  }

  Status add_fine_matrix(std::string name, std::string_view suffix, GgmlType least,
                         std::vector<uint64_t> ne) {
    return planner_.add_fine_matrix(std::move(name), prefix_ + std::string(suffix), least,
                                    std::move(ne));
  }

  Status add_head() {
    for (const std::string_view head : kHeads) {
      if (!planner_.has(head)) continue;
      return planner_.add_matrix("output.weight", std::string(head), {c_.hidden, c_.n_vocab});
    }
    return Error{ErrorCode::bad_file,
                 "lm_head.weight: missing, but the config says tie_word_embeddings is false"};
  }

  Status add_per_layer_inputs() {
    const uint64_t n = c_.n_layers * c_.per_layer;
    KL_TRY(add_matrix("per_layer_token_embd.weight", "embed_tokens_per_layer.weight",
                      {n, c_.n_vocab}));
    KL_TRY(add_fine_matrix("per_layer_model_proj.weight", "per_layer_model_projection.weight",
                           GgmlType::bf16, {c_.hidden, n}));
    return add_vector("per_layer_proj_norm.weight", "per_layer_projection_norm.weight",
                      c_.per_layer);
  }

  Status add_layer(uint64_t i);
  Status add_attention(uint64_t i);
  Status add_experts(uint64_t i);
  Status account_for_the_rest();
  [[nodiscard]] bool is_unused_by_design(std::string_view name) const;

  const HfTextConfig& c_;  // Borrowed from the caller of plan_tensors.
  Planner planner_;
  std::string prefix_;
};

std::string layer_name(uint64_t i, std::string_view part) {
  return fmt::format("blk.{}.{}", i, part);
}

std::string hf_layer_name(uint64_t i, std::string_view part) {
  return fmt::format("layers.{}.{}", i, part);
}

Status TextPlanner::add_attention(uint64_t i) {
  const uint64_t dim = c_.head_dim(i);
  const uint64_t n_q = c_.n_heads * dim;
  const uint64_t n_kv = c_.n_kv(i) * dim;
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_vector(to("attn_norm.weight"), from("input_layernorm.weight"), c_.hidden));
  KL_TRY(add_matrix(to("attn_q.weight"), from("self_attn.q_proj.weight"), {c_.hidden, n_q}));
  KL_TRY(add_vector(to("attn_q_norm.weight"), from("self_attn.q_norm.weight"), dim));
  if (c_.owns_kv(i)) {
    KL_TRY(add_matrix(to("attn_k.weight"), from("self_attn.k_proj.weight"), {c_.hidden, n_kv}));
    KL_TRY(add_vector(to("attn_k_norm.weight"), from("self_attn.k_norm.weight"), dim));
    if (c_.sliding[i] || !c_.k_is_v) {
      KL_TRY(add_matrix(to("attn_v.weight"), from("self_attn.v_proj.weight"), {c_.hidden, n_kv}));
    }
  }
  KL_TRY(add_matrix(to("attn_output.weight"), from("self_attn.o_proj.weight"), {n_q, c_.hidden}));
  return add_vector(to("post_attention_norm.weight"), from("post_attention_layernorm.weight"),
                    c_.hidden);
}

// The stacks of experts lie in both formats alike, gate rows of an expert before its up rows.
Status TextPlanner::add_experts(uint64_t i) {
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_fine_matrix(to("ffn_gate_inp.weight"), from("router.proj.weight"), GgmlType::f32,
                         {c_.hidden, c_.n_experts}));
  KL_TRY(add_vector(to("ffn_gate_inp.scale"), from("router.scale"), c_.hidden));
  KL_TRY(add_matrix(to("ffn_gate_up_exps.weight"), from("experts.gate_up_proj"),
                    {c_.hidden, 2 * c_.expert_ffn, c_.n_experts}));
  KL_TRY(add_matrix(to("ffn_down_exps.weight"), from("experts.down_proj"),
                    {c_.expert_ffn, c_.hidden, c_.n_experts}));
  KL_TRY(add_vector(to("ffn_down_exps.scale"), from("router.per_expert_scale"), c_.n_experts));
  KL_TRY(add_vector(to("pre_ffw_norm_2.weight"), from("pre_feedforward_layernorm_2.weight"),
                    c_.hidden));
  KL_TRY(add_vector(to("post_ffw_norm_1.weight"), from("post_feedforward_layernorm_1.weight"),
                    c_.hidden));
  return add_vector(to("post_ffw_norm_2.weight"), from("post_feedforward_layernorm_2.weight"),
                    c_.hidden);
}

Status TextPlanner::add_layer(uint64_t i) {
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_attention(i));
  KL_TRY(add_vector(to("ffn_norm.weight"), from("pre_feedforward_layernorm.weight"), c_.hidden));
  const uint64_t ffn = c_.ffn_width(i);
  KL_TRY(add_matrix(to("ffn_gate.weight"), from("mlp.gate_proj.weight"), {c_.hidden, ffn}));
  KL_TRY(add_matrix(to("ffn_up.weight"), from("mlp.up_proj.weight"), {c_.hidden, ffn}));
  KL_TRY(add_matrix(to("ffn_down.weight"), from("mlp.down_proj.weight"), {ffn, c_.hidden}));
  if (c_.n_experts != 0) KL_TRY(add_experts(i));
  KL_TRY(
      add_vector(to("post_ffw_norm.weight"), from("post_feedforward_layernorm.weight"), c_.hidden));
  if (c_.per_layer != 0) {
    KL_TRY(add_matrix(to("inp_gate.weight"), from("per_layer_input_gate.weight"),
                      {c_.hidden, c_.per_layer}));
    KL_TRY(add_matrix(to("proj.weight"), from("per_layer_projection.weight"),
                      {c_.per_layer, c_.hidden}));
    KL_TRY(add_vector(to("post_norm.weight"), from("post_per_layer_input_norm.weight"), c_.hidden));
  }
  // Readers of drafters insist on it.
  if (c_.is_drafter() || planner_.has(prefix_ + from("layer_scalar"))) {
    KL_TRY(add_vector(to("layer_output_scale.weight"), from("layer_scalar"), 1));
  }
  return {};
}

// Tensors that transformers itself ignores: keys and values of layers that share another's, the
// head where it is the embedding, a drafter's sparse head where the config has it off, frequencies
// that follow from the config.
bool TextPlanner::is_unused_by_design(std::string_view name) const {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  if (std::ranges::find(kHeads, name) != std::end(kHeads)) return c_.tied_embeddings;
  if (name.starts_with("masked_embedding.")) return c_.is_drafter();
  for (uint64_t i = c_.n_layers - c_.n_shared_kv; i < c_.n_layers; ++i) {
    const std::string attention = fmt::format("{}layers.{}.self_attn.", prefix_, i);
    for (const std::string_view part : {"k_proj.weight", "v_proj.weight", "k_norm.weight"}) {
      if (name == attention + std::string(part)) return true;
    }
  }
  return false;
}

Status TextPlanner::account_for_the_rest() {
  TensorPlan& plan = planner_.plan();
  uint64_t n_unused = 0;
  for (const SafetensorsTensor& tensor : planner_.files().tensors()) {
    if (planner_.is_used(tensor.name)) continue;
    if (is_media_tensor(tensor.name)) {
      ++plan.n_skipped;
    } else if (is_unused_by_design(tensor.name)) {
      ++n_unused;
    } else {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: not a tensor of the model that the config describes",
                               printable(tensor.name))};
    }
  }
  if (n_unused != 0) {
    plan.notes.push_back(
        fmt::format("{} tensors that the model does not use were left out.", n_unused));
  }
  if (plan.n_skipped != 0) {
    plan.notes.push_back(
        fmt::format("{} vision and audio tensors were left out: the output is the text model, they "
                    "go into a file of their own (mmproj).",
                    plan.n_skipped));
  }
  return {};
}

}  // namespace

Result<TensorPlan> plan_tensors(const HfTextConfig& config, const Safetensors& files,
                                GgmlType type) {
  return TextPlanner(config, files, type).plan();
}

}  // namespace kimberlite::formats
