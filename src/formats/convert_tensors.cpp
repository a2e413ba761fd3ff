// Shapes here are in GGUF order, input first; Hugging Face lists them the other way round.
#include "formats/convert_tensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/parallel.hpp"
#include "formats/encode.hpp"
#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {
namespace {

constexpr std::string_view kPrefixes[] = {"model.language_model.", "language_model.model.",
                                          "model."};
constexpr std::string_view kHeads[] = {"lm_head.weight", "model.lm_head.weight",
                                       "language_model.lm_head.weight"};
constexpr std::string_view kMediaMarks[] = {"vision", "audio", "multi_modal"};

class Planner {
 public:
  Planner(const HfTextConfig& config, const Safetensors& files, GgmlType type)
      : c_(config), files_(files), type_(type) {}

  Result<TensorPlan> plan() {
    KL_TRY(find_prefix());
    KL_TRY(add_matrix("token_embd.weight", "embed_tokens.weight", c_.hidden, c_.n_vocab));
    if (!c_.tied_embeddings) KL_TRY(add_head());
    if (c_.per_layer != 0) KL_TRY(add_per_layer_inputs());
    KL_TRY(add_vector("output_norm.weight", "norm.weight", c_.hidden));
    plan_.tensors.push_back({"rope_freqs.weight", GgmlType::f32, {c_.head_dim_full / 2}, nullptr});
    for (uint64_t i = 0; i < c_.n_layers; ++i) KL_TRY(add_layer(i));
    KL_TRY(account_for_the_rest());
    return std::move(plan_);
  }

 private:
  Status find_prefix() {
    for (const std::string_view prefix : kPrefixes) {
      if (files_.find(std::string(prefix) + "embed_tokens.weight") == nullptr) continue;
      prefix_ = prefix;
      return {};
    }
    return Error{ErrorCode::bad_file,
                 fmt::format("no embed_tokens.weight under any of the prefixes {}",
                             fmt::join(kPrefixes, ", "))};
  }

  Status add(std::string name, const std::string& source_name, GgmlType type,
             std::vector<uint64_t> ne) {
    const SafetensorsTensor* source = files_.find(source_name);
    if (source == nullptr) {
      return Error{ErrorCode::bad_file, fmt::format("{}: missing, expected shape [{}]", source_name,
                                                    fmt::join(ne.rbegin(), ne.rend(), ", "))};
    }
    std::vector<uint64_t> shape(source->shape.rbegin(), source->shape.rend());
    if (shape.empty()) shape.push_back(1);  // a scalar without dimensions
    if (shape != ne) {
      return Error{ErrorCode::bad_file, fmt::format("{}: expected [{}], file has [{}]", source_name,
                                                    fmt::join(ne.rbegin(), ne.rend(), ", "),
                                                    fmt::join(source->shape, ", "))};
    }
    if (!source->dtype->ggml) {
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: dtype {}, convert reads F32, F16 and BF16", source_name,
                               source->dtype->name)};
    }
    used_.insert(source_name);
    plan_.tensors.push_back({std::move(name), type, std::move(ne), source});
    return {};
  }

  Status add_vector(std::string name, std::string_view suffix, uint64_t n) {
    return add(std::move(name), prefix_ + std::string(suffix), GgmlType::f32, {n});
  }

  Status add_matrix(std::string name, std::string_view suffix, uint64_t n_in, uint64_t n_out) {
    return add_matrix_from(std::move(name), prefix_ + std::string(suffix), {n_in, n_out});
  }

  /// A matrix, or one for each expert.
  Status add_matrix_from(std::string name, const std::string& source_name,
                         std::vector<uint64_t> ne) {
    const uint64_t n_in = ne[0];
    GgmlType type = type_;
    if (n_in % traits(type).block_elems != 0) {
      type = GgmlType::f16;
      plan_.notes.push_back(
          fmt::format("{} is f16: its rows of {} are no multiple of {}'s blocks "
                      "of {}.",
                      name, n_in, traits(type_).name, traits(type_).block_elems));
    }
    return add(std::move(name), source_name, type, std::move(ne));
  }

  /// A matrix that steers much with little: at least as exact as `least`.
  Status add_fine_matrix(std::string name, std::string_view suffix, GgmlType least,
                         std::vector<uint64_t> ne) {
    const bool is_float = traits(type_).block_elems == 1;
    const GgmlType type = least == GgmlType::f32 || !is_float ? least : type_;
    return add(std::move(name), prefix_ + std::string(suffix), type, std::move(ne));
  }

  Status add_head() {
    for (const std::string_view head : kHeads) {
      if (files_.find(head) == nullptr) continue;
      return add_matrix_from("output.weight", std::string(head), {c_.hidden, c_.n_vocab});
    }
    return Error{ErrorCode::bad_file,
                 "lm_head.weight: missing, but the config says tie_word_embeddings is false"};
  }

  Status add_per_layer_inputs() {
    const uint64_t n = c_.n_layers * c_.per_layer;
    KL_TRY(
        add_matrix("per_layer_token_embd.weight", "embed_tokens_per_layer.weight", n, c_.n_vocab));
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

  const HfTextConfig& c_;     // Borrowed from the caller of plan_tensors.
  const Safetensors& files_;  // Borrowed from the caller of plan_tensors.
  GgmlType type_;
  std::string prefix_;
  std::set<std::string, std::less<>> used_;
  TensorPlan plan_;
};

std::string layer_name(uint64_t i, std::string_view part) {
  return fmt::format("blk.{}.{}", i, part);
}

std::string hf_layer_name(uint64_t i, std::string_view part) {
  return fmt::format("layers.{}.{}", i, part);
}

Status Planner::add_attention(uint64_t i) {
  const uint64_t dim = c_.head_dim(i);
  const uint64_t n_q = c_.n_heads * dim;
  const uint64_t n_kv = c_.n_kv(i) * dim;
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_vector(to("attn_norm.weight"), from("input_layernorm.weight"), c_.hidden));
  KL_TRY(add_matrix(to("attn_q.weight"), from("self_attn.q_proj.weight"), c_.hidden, n_q));
  KL_TRY(add_vector(to("attn_q_norm.weight"), from("self_attn.q_norm.weight"), dim));
  if (c_.owns_kv(i)) {
    KL_TRY(add_matrix(to("attn_k.weight"), from("self_attn.k_proj.weight"), c_.hidden, n_kv));
    KL_TRY(add_vector(to("attn_k_norm.weight"), from("self_attn.k_norm.weight"), dim));
    if (c_.sliding[i] || !c_.k_is_v) {
      KL_TRY(add_matrix(to("attn_v.weight"), from("self_attn.v_proj.weight"), c_.hidden, n_kv));
    }
  }
  KL_TRY(add_matrix(to("attn_output.weight"), from("self_attn.o_proj.weight"), n_q, c_.hidden));
  return add_vector(to("post_attention_norm.weight"), from("post_attention_layernorm.weight"),
                    c_.hidden);
}

// The stacks of experts lie in both formats alike, gate rows of an expert before its up rows.
Status Planner::add_experts(uint64_t i) {
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_fine_matrix(to("ffn_gate_inp.weight"), from("router.proj.weight"), GgmlType::f32,
                         {c_.hidden, c_.n_experts}));
  KL_TRY(add_vector(to("ffn_gate_inp.scale"), from("router.scale"), c_.hidden));
  KL_TRY(add_matrix_from(to("ffn_gate_up_exps.weight"), prefix_ + from("experts.gate_up_proj"),
                         {c_.hidden, 2 * c_.expert_ffn, c_.n_experts}));
  KL_TRY(add_matrix_from(to("ffn_down_exps.weight"), prefix_ + from("experts.down_proj"),
                         {c_.expert_ffn, c_.hidden, c_.n_experts}));
  KL_TRY(add_vector(to("ffn_down_exps.scale"), from("router.per_expert_scale"), c_.n_experts));
  KL_TRY(add_vector(to("pre_ffw_norm_2.weight"), from("pre_feedforward_layernorm_2.weight"),
                    c_.hidden));
  KL_TRY(add_vector(to("post_ffw_norm_1.weight"), from("post_feedforward_layernorm_1.weight"),
                    c_.hidden));
  return add_vector(to("post_ffw_norm_2.weight"), from("post_feedforward_layernorm_2.weight"),
                    c_.hidden);
}

Status Planner::add_layer(uint64_t i) {
  const auto to = [&](std::string_view part) { return layer_name(i, part); };
  const auto from = [&](std::string_view part) { return hf_layer_name(i, part); };
  KL_TRY(add_attention(i));
  KL_TRY(add_vector(to("ffn_norm.weight"), from("pre_feedforward_layernorm.weight"), c_.hidden));
  const uint64_t ffn = c_.ffn_width(i);
  KL_TRY(add_matrix(to("ffn_gate.weight"), from("mlp.gate_proj.weight"), c_.hidden, ffn));
  KL_TRY(add_matrix(to("ffn_up.weight"), from("mlp.up_proj.weight"), c_.hidden, ffn));
  KL_TRY(add_matrix(to("ffn_down.weight"), from("mlp.down_proj.weight"), ffn, c_.hidden));
  if (c_.n_experts != 0) KL_TRY(add_experts(i));
  KL_TRY(
      add_vector(to("post_ffw_norm.weight"), from("post_feedforward_layernorm.weight"), c_.hidden));
  if (c_.per_layer != 0) {
    KL_TRY(add_matrix(to("inp_gate.weight"), from("per_layer_input_gate.weight"), c_.hidden,
                      c_.per_layer));
    KL_TRY(add_matrix(to("proj.weight"), from("per_layer_projection.weight"), c_.per_layer,
                      c_.hidden));
    KL_TRY(add_vector(to("post_norm.weight"), from("post_per_layer_input_norm.weight"), c_.hidden));
  }
  if (files_.find(prefix_ + from("layer_scalar")) != nullptr) {
    KL_TRY(add_vector(to("layer_output_scale.weight"), from("layer_scalar"), 1));
  }
  return {};
}

// Tensors that transformers itself ignores: keys and values of layers that share another's, the
// head where it is the embedding, frequencies that follow from the config.
bool Planner::is_unused_by_design(std::string_view name) const {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  if (std::ranges::find(kHeads, name) != std::end(kHeads)) return c_.tied_embeddings;
  for (uint64_t i = c_.n_layers - c_.n_shared_kv; i < c_.n_layers; ++i) {
    const std::string attention = fmt::format("{}layers.{}.self_attn.", prefix_, i);
    for (const std::string_view part : {"k_proj.weight", "v_proj.weight", "k_norm.weight"}) {
      if (name == attention + std::string(part)) return true;
    }
  }
  return false;
}

Status Planner::account_for_the_rest() {
  uint64_t n_unused = 0;
  for (const SafetensorsTensor& tensor : files_.tensors()) {
    if (used_.contains(tensor.name)) continue;
    const bool is_media = !tensor.name.starts_with(prefix_ + "layers.") &&
                          std::ranges::any_of(kMediaMarks, [&](std::string_view mark) {
                            return tensor.name.find(mark) != std::string::npos;
                          });
    if (is_media) {
      ++plan_.n_skipped_media;
    } else if (is_unused_by_design(tensor.name)) {
      ++n_unused;
    } else {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: not a tensor of the model that the config describes",
                               printable(tensor.name))};
    }
  }
  if (n_unused != 0) {
    plan_.notes.push_back(
        fmt::format("{} tensors that the model does not use were left out.", n_unused));
  }
  if (plan_.n_skipped_media != 0) {
    plan_.notes.push_back(
        fmt::format("{} vision and audio tensors were left out: the output is "
                    "the text model.",
                    plan_.n_skipped_media));
  }
  return {};
}

Status push_rope_freqs(const HfTextConfig& config, const ByteSink& sink) {
  std::vector<float> divisors(config.head_dim_full / 2, 1e30f);
  std::fill_n(divisors.begin(), config.n_rotated_pairs, 1.0f);
  return sink(std::as_bytes(std::span(divisors)));
}

}  // namespace

Result<TensorPlan> plan_tensors(const HfTextConfig& config, const Safetensors& files,
                                GgmlType type) {
  return Planner(config, files, type).plan();
}

Status stream_tensor(const PlannedTensor& tensor, const HfTextConfig& config,
                     const Safetensors& files, const ByteSink& sink) {
  if (tensor.source == nullptr) return push_rope_freqs(config, sink);
  const SafetensorsTensor& source = *tensor.source;
  KL_TRY(push_encoded({source.name, *source.dtype->ggml, source.data, tensor.type}, thread_count(0),
                      sink));
  files.release(source);
  return {};
}

}  // namespace kimberlite::formats
