#include "model/config.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/numeric.hpp"
#include "formats/ggml_type.hpp"
#include "kernels/experts.hpp"

namespace kimberlite::model {
namespace {

using formats::GgufFile;

// Beyond these a file is broken or hostile; the largest Gemma 4 stays far below.
constexpr uint32_t kMaxLayers = 512;
constexpr uint32_t kMaxHeads = 1024;
constexpr uint32_t kMaxWidth = 1u << 17;
constexpr uint32_t kMaxPerLayerWidth = 4096;
constexpr uint32_t kMaxVocab = 1u << 20;
constexpr uint32_t kMaxContext = 1u << 18;  // the RoPE tables reach position 262,143

/// A u32 that must lie in [low, high].
Result<uint32_t> bounded(const GgufFile& file, std::string_view name, uint32_t low, uint32_t high) {
  KL_ASSIGN(const uint32_t value, file.u32(config_key(file, name)));
  if (value < low || value > high) {
    return file.key_error(config_key(file, name),
                          fmt::format("is {}, expected {} to {}", value, low, high));
  }
  return value;
}

/// Head sizes: both kinds, K and V alike.
Result<uint32_t> head_dim(const GgufFile& file, std::string_view suffix) {
  const std::string k_name = fmt::format("attention.key_length{}", suffix);
  const std::string v_name = fmt::format("attention.value_length{}", suffix);
  KL_ASSIGN(const uint32_t k, bounded(file, k_name, 32, 512));
  KL_ASSIGN(const uint32_t v, bounded(file, v_name, 32, 512));
  if (k != v) {
    return file.key_error(config_key(file, v_name), fmt::format("is {}, expected {} as in {}", v, k,
                                                                config_key(file, k_name)));
  }
  if (k != 256 && k != 512) {
    return file.key_error(config_key(file, k_name), fmt::format("is {}, expected 256 or 512", k));
  }
  return k;
}

/// How many pairs rotate on full layers: the leading ones of rope_freqs.weight, a table of divisors
/// in which a huge number means "does not rotate".
Result<uint32_t> rotating_pairs(const GgufFile& file, uint32_t dim) {
  const formats::TensorInfo* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return dim / 2;
  if (tensor->type != formats::GgmlType::f32 || tensor->ne[0] != dim / 2) {
    return Error{
        ErrorCode::bad_file,
        fmt::format("{}: rope_freqs.weight: expected f32 [{}], file has {} [{}]", file.path(),
                    dim / 2, formats::traits(tensor->type).name, tensor->ne[0])};
  }
  uint32_t n_pairs = 0;
  for (uint32_t i = 0; i < dim / 2; ++i) {
    const auto divisor = load<float>(tensor->data.data() + i * sizeof(float));
    const bool rotates = divisor == 1.0f;
    if ((!rotates && divisor < 1e20f) || (rotates && n_pairs != i)) {
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: rope_freqs.weight[{}] is {}: expected ones, then 1e30",
                               file.path(), i, divisor)};
    }
    if (rotates) ++n_pairs;
  }
  return n_pairs;
}

Status read_rope(const GgufFile& file, ModelConfig& config) {
  const auto theta = [&](std::string_view name) -> Result<double> {
    KL_ASSIGN(const float value, file.f32(config_key(file, name)));
    if (!(value > 1.0f && value < 1e12f)) {
      return file.key_error(config_key(file, name),
                            fmt::format("is {}, expected a base above 1", value));
    }
    return double{value};
  };
  KL_ASSIGN(config.rope_sliding.theta, theta("rope.freq_base_swa"));
  KL_ASSIGN(config.rope_full.theta, theta("rope.freq_base"));
  KL_ASSIGN(config.rope_sliding.head_dim, head_dim(file, "_swa"));
  KL_ASSIGN(config.rope_full.head_dim, head_dim(file, ""));
  config.rope_sliding.n_pairs = config.rope_sliding.head_dim / 2;
  KL_ASSIGN(config.rope_full.n_pairs, rotating_pairs(file, config.rope_full.head_dim));
  return {};
}

/// The last layers may read K and V of the last earlier one of their kind.
Status read_shared_kv(const GgufFile& file, ModelConfig& config) {
  const std::string name = config_key(file, "attention.shared_kv_layers");
  KL_ASSIGN(const uint32_t n_shared, file.u32_or(name, 0));
  if (n_shared >= config.n_layers) {
    return file.key_error(
        name, fmt::format("is {}, expected fewer than the {} layers", n_shared, config.n_layers));
  }
  config.n_kv_layers = config.n_layers - n_shared;
  for (uint32_t i = 0; i < config.n_layers; ++i) {
    LayerConfig& layer = config.layers[i];
    layer.kv_layer = i;
    if (i < config.n_kv_layers) continue;
    uint32_t donor = config.n_kv_layers;
    while (donor > 0 && config.layers[donor - 1].kind != layer.kind) --donor;
    if (donor == 0) {
      return file.key_error(name, fmt::format("is {}, but no layer before {} has the attention of "
                                              "layer {}",
                                              n_shared, config.n_kv_layers, i));
    }
    layer.kv_layer = donor - 1;
    if (layer.n_kv_heads != config.layers[donor - 1].n_kv_heads) {
      return file.key_error(
          config_key(file, "attention.head_count_kv"),
          fmt::format("of layer {} is {}, but layer {}, whose K and V it reads, "
                      "has {}",
                      i, layer.n_kv_heads, donor - 1, config.layers[donor - 1].n_kv_heads));
    }
  }
  return {};
}

Result<ExpertConfig> read_experts(const GgufFile& file) {
  ExpertConfig experts;
  KL_ASSIGN(experts.n, file.u32_or(config_key(file, "expert_count"), 0));
  if (experts.n == 0) return experts;
  KL_ASSIGN(experts.n, bounded(file, "expert_count", 1, kernels::kMostExperts));
  KL_ASSIGN(experts.n_used, bounded(file, "expert_used_count", 1, experts.n));
  KL_ASSIGN(experts.ffn_width, bounded(file, "expert_feed_forward_length", 32, kMaxWidth));
  // Experts follow one another in a matrix whose rows are packed by 64.
  if (experts.ffn_width % kernels::kPanelRows != 0) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {} is {}, supported are multiples of {}", file.path(),
                             config_key(file, "expert_feed_forward_length"), experts.ffn_width,
                             kernels::kPanelRows)};
  }
  return experts;
}

/// Values of a layer in the second embedding table; 0 where a file has none.
Result<uint32_t> read_per_layer_width(const GgufFile& file) {
  const std::string name = config_key(file, "embedding_length_per_layer_input");
  KL_ASSIGN(const uint32_t width, file.u32_or(name, 0));
  if (width % 32 != 0 || width > kMaxPerLayerWidth) {
    return file.key_error(
        name, fmt::format("is {}, expected a multiple of 32 up to {}", width, kMaxPerLayerWidth));
  }
  return width;
}

Status read_layers(const GgufFile& file, ModelConfig& config) {
  const size_t n = config.n_layers;
  KL_ASSIGN(const auto pattern,
            file.bool_array(config_key(file, "attention.sliding_window_pattern")));
  if (pattern.size() != n) {
    return file.key_error(config_key(file, "attention.sliding_window_pattern"),
                          fmt::format("has {} entries, expected {}", pattern.size(), n));
  }
  KL_ASSIGN(const uint32_t n_heads, bounded(file, "attention.head_count", 1, kMaxHeads));
  KL_ASSIGN(const auto n_kv_heads,
            file.u32_per_layer(config_key(file, "attention.head_count_kv"), n));
  KL_ASSIGN(const auto ffn_width, file.u32_per_layer(config_key(file, "feed_forward_length"), n));
  for (uint32_t i = 0; i < n; ++i) {
    LayerConfig layer;
    layer.kind = pattern[i] ? LayerKind::sliding : LayerKind::full;
    layer.n_heads = n_heads;
    layer.n_kv_heads = n_kv_heads[i];
    layer.head_dim = config.rope(layer.kind).head_dim;
    layer.ffn_width = ffn_width[i];
    layer.k_is_v = file.find_tensor(fmt::format("blk.{}.attn_v.weight", i)) == nullptr;
    if (layer.n_kv_heads == 0 || n_heads % layer.n_kv_heads != 0) {
      return file.key_error(config_key(file, "attention.head_count_kv"),
                            fmt::format("of layer {} is {}, which does not divide {} heads", i,
                                        layer.n_kv_heads, n_heads));
    }
    if (layer.ffn_width == 0 || layer.ffn_width > kMaxWidth || layer.ffn_width % 32 != 0) {
      return file.key_error(config_key(file, "feed_forward_length"),
                            fmt::format("of layer {} is {}, expected a multiple of 32 up to {}", i,
                                        layer.ffn_width, kMaxWidth));
    }
    config.layers.push_back(layer);
  }
  return {};
}

/// From the embedding table, which every file has; vocab_size, where it is there, must agree.
Result<uint32_t> read_vocab_size(const GgufFile& file) {
  const formats::TensorInfo* table = file.find_tensor("token_embd.weight");
  if (table == nullptr) {
    return Error{ErrorCode::bad_file, fmt::format("{}: no tensor token_embd.weight", file.path())};
  }
  const uint64_t rows = table->ne[1];
  if (rows == 0 || rows > kMaxVocab) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: token_embd.weight has {} rows, expected 1 to {}", file.path(),
                             rows, kMaxVocab)};
  }
  KL_ASSIGN(const uint32_t declared,
            file.u32_or(config_key(file, "vocab_size"), static_cast<uint32_t>(rows)));
  if (declared != rows) {
    return file.key_error(config_key(file, "vocab_size"),
                          fmt::format("is {}, but token_embd.weight has {} rows", declared, rows));
  }
  return declared;
}

}  // namespace

std::string config_key(const GgufFile& file, std::string_view name) {
  const auto architecture = file.str_or("general.architecture", "");
  return fmt::format("{}.{}", architecture.ok() ? *architecture : "", name);
}

Result<ModelConfig> read_text_config(const GgufFile& file) {
  ModelConfig config;
  KL_ASSIGN(const std::string_view name, file.str_or("general.name", "gemma4"));
  config.name = name;
  KL_ASSIGN(config.n_layers, bounded(file, "block_count", 1, kMaxLayers));
  KL_ASSIGN(config.width, bounded(file, "embedding_length", 32, kMaxWidth));
  if (config.width % 32 != 0) {
    return file.key_error(config_key(file, "embedding_length"),
                          fmt::format("is {}, expected a multiple of 32", config.width));
  }
  KL_ASSIGN(config.max_context, bounded(file, "context_length", 1, kMaxContext));
  KL_ASSIGN(config.window, bounded(file, "attention.sliding_window", 1, kMaxContext));
  KL_ASSIGN(config.n_vocab, read_vocab_size(file));
  KL_ASSIGN(config.rms_eps, file.f32(config_key(file, "attention.layer_norm_rms_epsilon")));
  KL_ASSIGN(config.softcap, file.f32_or(config_key(file, "final_logit_softcapping"), 0.0f));
  if (!(config.rms_eps > 0.0f && config.rms_eps < 1.0f)) {
    return file.key_error(config_key(file, "attention.layer_norm_rms_epsilon"),
                          fmt::format("is {}, expected between 0 and 1", config.rms_eps));
  }
  if (!(config.softcap >= 0.0f && config.softcap < 1e6f)) {
    return file.key_error(config_key(file, "final_logit_softcapping"),
                          fmt::format("is {}, expected 0 or more", config.softcap));
  }
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  KL_TRY(read_rope(file, config));
  KL_ASSIGN(config.per_layer_width, read_per_layer_width(file));
  KL_ASSIGN(config.experts, read_experts(file));
  if (config.experts.n != 0 && config.width % kernels::kPanelRows != 0) {
    return Error{
        ErrorCode::unsupported,
        fmt::format("{}: {} is {}, supported beside experts are multiples of {}", file.path(),
                    config_key(file, "embedding_length"), config.width, kernels::kPanelRows)};
  }
  if (config.experts.n != 0 && config.per_layer_width != 0) {
    return Error{
        ErrorCode::unsupported,
        fmt::format("{}: {} is {} and {} is {}, supported is one of the two", file.path(),
                    config_key(file, "expert_count"), config.experts.n,
                    config_key(file, "embedding_length_per_layer_input"), config.per_layer_width)};
  }
  KL_TRY(read_layers(file, config));
  return config;
}

Result<ModelConfig> read_config(const GgufFile& file) {
  KL_ASSIGN(const std::string_view architecture, file.str("general.architecture"));
  if (architecture != "gemma4") {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: general.architecture is '{}', expected 'gemma4'", file.path(),
                             architecture)};
  }
  KL_ASSIGN(ModelConfig config, read_text_config(file));
  KL_TRY(read_shared_kv(file, config));
  return config;
}

}  // namespace kimberlite::model
