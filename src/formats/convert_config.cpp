// Defaults are those of the transformers configuration classes; a missing size is an error.
#include "formats/convert_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string>

#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxLayers = 512;
constexpr uint64_t kMaxHeads = 1024;
constexpr uint64_t kMaxHeadDim = 1024;
constexpr uint64_t kMaxVocab = 1 << 20;
constexpr uint64_t kMaxContext = 1 << 24;
constexpr uint64_t kMaxExperts = 1 << 10;

// Models that this converter would silently get wrong.
Status refuse_other_variants(const JsonObject& text) {
  KL_ASSIGN(const auto activation, text.str_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return text.error("hidden_activation",
                      fmt::format("expected gelu_pytorch_tanh, found {}", printable(activation)));
  }
  KL_ASSIGN(const auto bias, text.boolean_or("attention_bias", false));
  if (bias) return text.unsupported("attention_bias is true, Gemma 4 has none");
  return {};
}

Status read_sizes(const JsonObject& text, bool of_drafter, HfTextConfig& c) {
  KL_ASSIGN(c.n_layers, text.u64("num_hidden_layers", 1, kMaxLayers));
  KL_ASSIGN(c.hidden, text.u64("hidden_size", 1, kMaxWidth));
  KL_ASSIGN(c.ffn, text.u64("intermediate_size", 1, kMaxWidth));
  KL_ASSIGN(c.n_heads, text.u64("num_attention_heads", 1, kMaxHeads));
  KL_ASSIGN(c.n_kv_sliding, text.u64("num_key_value_heads", 1, c.n_heads));
  KL_ASSIGN(c.head_dim_sliding, text.u64("head_dim", 2, kMaxHeadDim));
  KL_ASSIGN(c.window, text.u64("sliding_window", 1, kMaxContext));
  KL_ASSIGN(c.context, text.u64("max_position_embeddings", 1, kMaxContext));
  KL_ASSIGN(c.n_vocab, text.u64("vocab_size", 1, kMaxVocab));
  const uint64_t max_shared = of_drafter ? c.n_layers : c.n_layers - 1;
  KL_ASSIGN(c.n_shared_kv, text.u64_or("num_kv_shared_layers", 0, 0, max_shared));
  KL_ASSIGN(c.double_wide_mlp, text.boolean_or("use_double_wide_mlp", false));
  KL_ASSIGN(c.k_is_v, text.boolean_or("attention_k_eq_v", false));
  KL_ASSIGN(c.tied_embeddings, text.boolean_or("tie_word_embeddings", true));
  KL_ASSIGN(c.rms_eps, text.number_or("rms_norm_eps", 1e-6));
  KL_ASSIGN(c.softcap, text.number_or("final_logit_softcapping", 0.0));
  if (!(c.rms_eps > 0.0))
    return text.error("rms_norm_eps", fmt::format("{} is not above 0", c.rms_eps));
  return {};
}

Status read_per_layer_inputs(const JsonObject& text, HfTextConfig& c) {
  KL_ASSIGN(const auto model_type, text.str_or("model_type", "gemma4_text"));
  const uint64_t absent = model_type == "gemma4_text" ? 256 : 0;
  KL_ASSIGN(c.per_layer, text.u64_or("hidden_size_per_layer_input", absent, 0, kMaxWidth));
  if (c.per_layer == 0) return {};
  KL_ASSIGN(const uint64_t n_vocab,
            text.u64_or("vocab_size_per_layer_input", c.n_vocab, 1, kMaxVocab));
  if (n_vocab != c.n_vocab) {
    return text.unsupported(fmt::format(
        "vocab_size_per_layer_input is {}, vocab_size is {}: one vocabulary is supported", n_vocab,
        c.n_vocab));
  }
  return {};
}

Status read_experts(const JsonObject& text, HfTextConfig& c) {
  KL_ASSIGN(const bool has_experts, text.boolean_or("enable_moe_block", false));
  if (!has_experts) return {};
  KL_ASSIGN(c.n_experts, text.u64("num_experts", 1, kMaxExperts));
  KL_ASSIGN(c.n_experts_used, text.u64("top_k_experts", 1, c.n_experts));
  KL_ASSIGN(c.expert_ffn, text.u64("moe_intermediate_size", 1, kMaxWidth));
  return {};
}

Status read_layer_types(const JsonObject& text, HfTextConfig& c) {
  const Json* types = text.find("layer_types");
  c.sliding.resize(c.n_layers);
  if (types == nullptr) {
    for (uint64_t i = 0; i < c.n_layers; ++i) c.sliding[i] = i % 6 != 5;
  } else {
    if (!types->is_array() || types->size() != c.n_layers) {
      return text.error("layer_types",
                        fmt::format("expected {} entries, found {}", c.n_layers, types->size()));
    }
    for (uint64_t i = 0; i < c.n_layers; ++i) {
      const Json& type = (*types)[i];
      c.sliding[i] = type == "sliding_attention";
      if (!c.sliding[i] && type != "full_attention") {
        return text.error("layer_types", fmt::format("entry {} is neither sliding_attention nor "
                                                     "full_attention",
                                                     i));
      }
    }
  }
  // transformers does the same: the last layer always sees everything.
  c.sliding.back() = false;
  return {};
}

/// What the layers of a kind have in common, by layer.
struct LayerSizes {
  std::vector<uint64_t> head_dim, n_kv;
};

// A layer of per_layer_config: what it has otherwise than the model at large.
Status read_exceptions(const JsonObject& text, const JsonObject& layer, uint64_t index,
                       const HfTextConfig& c, LayerSizes& sizes) {
  for (const auto& [key, value] : layer.json().items()) {
    if (key == "head_dim") {
      KL_ASSIGN(sizes.head_dim[index], layer.u64(key, 2, kMaxHeadDim));
    } else if (key == "num_key_value_heads") {
      KL_ASSIGN(sizes.n_kv[index], layer.u64(key, 1, c.n_heads));
    } else if (const Json* general = text.find(key); general == nullptr || *general != value) {
      return layer.unsupported(
          fmt::format("{} is {}, the model's is {}; of what differs by layer convert reads "
                      "head_dim and num_key_value_heads",
                      printable(key), shown(value), general ? shown(*general) : "missing"));
    }
  }
  return {};
}

// The one value of all sliding and of all full layers.
Status share_by_kind(const JsonObject& text, std::string_view key, const HfTextConfig& c,
                     std::span<const uint64_t> values, uint64_t& sliding, uint64_t& full) {
  for (const bool is_sliding : {true, false}) {
    const auto found = std::ranges::find(c.sliding, is_sliding);
    if (found == c.sliding.end()) continue;
    const auto first = static_cast<uint64_t>(found - c.sliding.begin());
    for (uint64_t i = first; i < c.n_layers; ++i) {
      if (c.sliding[i] != is_sliding || values[i] == values[first]) continue;
      return text.unsupported(fmt::format(
          "per_layer_config: {} is {} in layer {} and {} in layer {}, both of them {} layers", key,
          values[first], first, values[i], i, is_sliding ? "sliding" : "full"));
    }
    (is_sliding ? sliding : full) = values[first];
  }
  return {};
}

// The layer that a key of per_layer_config names: digits, perhaps with zeros before them.
Result<uint64_t> read_layer_index(const JsonObject& table, std::string_view key,
                                  uint64_t n_layers) {
  uint64_t index = 0;
  const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (code != std::errc() || end != key.data() + key.size() || index >= n_layers) {
    return table.error(key, fmt::format("expected a layer below {}", n_layers));
  }
  return index;
}

// What newer versions of transformers write in place of the released files' global_head_dim and
// num_global_key_value_heads: {"05": {"head_dim": 512, "num_key_value_heads": 1}, ..}.
Status read_layer_table(const JsonObject& text, HfTextConfig& c) {
  KL_ASSIGN(const auto table, text.object("per_layer_config"));
  LayerSizes sizes{std::vector(c.n_layers, c.head_dim_sliding),
                   std::vector(c.n_layers, c.n_kv_sliding)};
  for (const auto& [key, value] : table.json().items()) {
    KL_ASSIGN(const uint64_t index, read_layer_index(table, key, c.n_layers));
    KL_ASSIGN(const auto layer, table.object(key));
    KL_TRY(read_exceptions(text, layer, index, c, sizes));
  }
  KL_TRY(share_by_kind(text, "head_dim", c, sizes.head_dim, c.head_dim_sliding, c.head_dim_full));
  return share_by_kind(text, "num_key_value_heads", c, sizes.n_kv, c.n_kv_sliding, c.n_kv_full);
}

// transformers reads the full layers' own count of heads only together with attention_k_eq_v.
Status read_full_layers(const JsonObject& text, HfTextConfig& c) {
  const bool has_table = text.has("per_layer_config");
  c.head_dim_full = 512;
  c.n_kv_full = c.n_kv_sliding;
  if (has_table) KL_TRY(read_layer_table(text, c));
  KL_ASSIGN(const auto dim, text.u64_or("global_head_dim", c.head_dim_full, 2, kMaxHeadDim));
  uint64_t n_kv = c.n_kv_full;
  if (c.k_is_v) {
    KL_ASSIGN(n_kv, text.u64_or("num_global_key_value_heads", c.n_kv_full, 1, c.n_heads));
  }
  constexpr std::string_view kConflict = "{}, per_layer_config says {}";
  if (has_table && dim != c.head_dim_full) {
    return text.error("global_head_dim", fmt::format(kConflict, dim, c.head_dim_full));
  }
  if (has_table && n_kv != c.n_kv_full) {
    return text.error("num_global_key_value_heads", fmt::format(kConflict, n_kv, c.n_kv_full));
  }
  c.head_dim_full = dim;
  c.n_kv_full = n_kv;
  for (const uint64_t n : {c.n_kv_sliding, c.n_kv_full}) {
    if (c.n_heads % n != 0) {
      return text.error("num_key_value_heads",
                        fmt::format("{} query heads are no multiple of {}", c.n_heads, n));
    }
  }
  return {};
}

Status read_rope(const JsonObject& text, HfTextConfig& c) {
  double rotated = 0.25;
  c.rope_base_full = 1e6;
  c.rope_base_sliding = 1e4;
  if (text.has("rope_parameters")) {
    KL_ASSIGN(const auto rope, text.object("rope_parameters"));
    if (rope.has("full_attention")) {
      KL_ASSIGN(const auto full, rope.object("full_attention"));
      KL_ASSIGN(const auto type, full.str_or("rope_type", "proportional"));
      if (type != "proportional") {
        return full.error("rope_type",
                          fmt::format("expected proportional, found {}", printable(type)));
      }
      KL_ASSIGN(c.rope_base_full, full.number_or("rope_theta", c.rope_base_full));
      KL_ASSIGN(rotated, full.number_or("partial_rotary_factor", 1.0));
    }
    if (rope.has("sliding_attention")) {
      KL_ASSIGN(const auto sliding, rope.object("sliding_attention"));
      KL_ASSIGN(const auto type, sliding.str_or("rope_type", "default"));
      if (type != "default") {
        return sliding.error("rope_type",
                             fmt::format("expected default, found {}", printable(type)));
      }
      KL_ASSIGN(c.rope_base_sliding, sliding.number_or("rope_theta", c.rope_base_sliding));
    }
  }
  if (!(rotated >= 0.0 && rotated <= 1.0)) {
    return text.error("partial_rotary_factor", fmt::format("{} is not in [0, 1]", rotated));
  }
  c.n_rotated_pairs = static_cast<uint64_t>(rotated * static_cast<double>(c.head_dim_full)) / 2;
  return {};
}

// A token id, or the first of a list of ids.
Result<std::optional<uint64_t>> read_token_id(const JsonObject& config, std::string_view key,
                                              uint64_t n_vocab) {
  const Json* member = config.find(key);
  if (member != nullptr && member->is_array() && !member->empty()) member = &member->front();
  if (member == nullptr) return std::optional<uint64_t>();
  if (!member->is_number_unsigned() || member->get<uint64_t>() >= n_vocab) {
    return config.error(key, fmt::format("expected a token id below {}", n_vocab));
  }
  return std::optional(member->get<uint64_t>());
}

}  // namespace

Result<HfTextConfig> read_hf_text_config(const JsonObject& text, bool of_drafter) {
  HfTextConfig c{};
  KL_TRY(refuse_other_variants(text));
  KL_TRY(read_sizes(text, of_drafter, c));
  KL_TRY(read_per_layer_inputs(text, c));
  KL_TRY(read_experts(text, c));
  KL_TRY(read_layer_types(text, c));
  KL_TRY(read_full_layers(text, c));
  KL_TRY(read_rope(text, c));
  KL_ASSIGN(c.bos_id, read_token_id(text, "bos_token_id", c.n_vocab));
  KL_ASSIGN(c.eos_id, read_token_id(text, "eos_token_id", c.n_vocab));
  KL_ASSIGN(c.pad_id, read_token_id(text, "pad_token_id", c.n_vocab));
  return c;
}

Result<HfTextConfig> read_hf_config(const JsonObject& config) {
  KL_ASSIGN(const auto model_type, config.str("model_type"));
  if (model_type == "gemma4" || model_type == "gemma4_unified") {
    KL_ASSIGN(const auto text, config.object("text_config"));
    return read_hf_text_config(text, false);
  }
  if (model_type == "gemma4_text" || model_type == "gemma4_unified_text") {
    return read_hf_text_config(config, false);
  }
  return config.unsupported(
      fmt::format("model_type {} is not supported by convert; supported are gemma4, gemma4_text, "
                  "gemma4_unified, gemma4_unified_text, gemma4_assistant and "
                  "gemma4_unified_assistant",
                  printable(model_type)));
}

void write_hf_config(const HfTextConfig& c, GgufWriter& writer) {
  const auto key = [&](std::string_view name) {
    return fmt::format("{}.{}", c.architecture(), name);
  };
  const auto set = [&](std::string_view name, uint64_t value) {
    writer.set_u32(key(name), static_cast<uint32_t>(value));
  };
  const auto set_f32 = [&](std::string_view name, double value) {
    writer.set_f32(key(name), static_cast<float>(value));
  };
  std::vector<int32_t> n_kv, ffn;
  for (uint64_t i = 0; i < c.n_layers; ++i) {
    n_kv.push_back(static_cast<int32_t>(c.n_kv(i)));
    ffn.push_back(static_cast<int32_t>(c.ffn_width(i)));
  }
  writer.set_string("general.architecture", c.architecture());
  set("context_length", c.context);
  set("block_count", c.n_layers);
  set("embedding_length", c.hidden);
  if (std::ranges::count(ffn, ffn[0]) == static_cast<std::ptrdiff_t>(ffn.size())) {
    set("feed_forward_length", c.ffn_width(0));
  } else {
    writer.set_array(key("feed_forward_length"), std::span<const int32_t>(ffn));
  }
  set("attention.head_count", c.n_heads);
  writer.set_array(key("attention.head_count_kv"), std::span<const int32_t>(n_kv));
  set("attention.key_length", c.head_dim_full);
  set("attention.value_length", c.head_dim_full);
  set("attention.key_length_swa", c.head_dim_sliding);
  set("attention.value_length_swa", c.head_dim_sliding);
  set("attention.sliding_window", c.window);
  writer.set_array(key("attention.sliding_window_pattern"), c.sliding);
  set("attention.shared_kv_layers", c.n_shared_kv);
  set_f32("attention.layer_norm_rms_epsilon", c.rms_eps);
  set_f32("rope.freq_base", c.rope_base_full);
  set_f32("rope.freq_base_swa", c.rope_base_sliding);
  set("rope.dimension_count", c.head_dim_full);
  set("rope.dimension_count_swa", c.head_dim_sliding);
  set("embedding_length_per_layer_input", c.per_layer);
  if (c.n_experts != 0) {
    set("expert_count", c.n_experts);
    set("expert_used_count", c.n_experts_used);
    set("expert_feed_forward_length", c.expert_ffn);
  }
  if (c.softcap != 0.0) set_f32("final_logit_softcapping", c.softcap);
  set("vocab_size", c.n_vocab);
}

}  // namespace kimberlite::formats
