// ModelConfig: what the metadata and the tensor table of a GGUF say about the network. Every
// derived size is computed here, once. Structure is read from keys and tensors, never from a size's
// name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf.hpp"

namespace kimberlite::model {

enum class LayerKind : uint8_t { sliding, full };

struct LayerConfig {
  LayerKind kind = LayerKind::full;
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t ffn_width = 0;
  bool k_is_v = false;  // no V projection: V is the raw K, normed without weight
  /// The layer whose K and V it reads: itself, an earlier one of the same kind, or one of another
  /// model.
  uint32_t kv_layer = 0;
  static constexpr uint32_t kOtherModel = UINT32_MAX;

  [[nodiscard]] uint32_t q_width() const { return n_heads * head_dim; }
  [[nodiscard]] uint32_t kv_width() const { return n_kv_heads * head_dim; }
};

/// Rotary embedding of one kind of layer: pairs (i, i + head_dim / 2), of which the first n_pairs
/// rotate by position * theta^(-2i / head_dim).
struct RopeConfig {
  double theta = 0;
  uint32_t head_dim = 0;
  uint32_t n_pairs = 0;
};

/// Beside the MLP of every layer: `n_used` of `n` experts for each token. n = 0: none.
struct ExpertConfig {
  uint32_t n = 0;
  uint32_t n_used = 0;
  uint32_t ffn_width = 0;  // of one expert
};

struct ModelConfig {
  std::string name;
  uint32_t n_layers = 0;
  uint32_t width = 0;  // of the residual stream
  uint32_t n_vocab = 0;
  uint32_t max_context = 0;
  uint32_t window = 0;  // keys that a query of a sliding layer sees, itself included
  float rms_eps = 0;
  float softcap = 0;          // of the logits; 0 = none
  float embedding_scale = 0;  // sqrt(width)
  /// Values that each layer gets from a second embedding table (E2B, E4B); 0: there is none.
  uint32_t per_layer_width = 0;
  uint32_t n_kv_layers = 0;  // the first so many have K and V of their own
  ExpertConfig experts;
  RopeConfig rope_sliding;
  RopeConfig rope_full;
  std::vector<LayerConfig> layers;

  /// Whether the tokens of a picture see each other in sliding layers. The members with per-layer
  /// inputs were trained without; no key says it.
  [[nodiscard]] bool has_picture_blocks() const { return per_layer_width == 0; }
  /// The layers with K and V of their own.
  [[nodiscard]] std::span<const LayerConfig> kv_layers() const {
    return std::span(layers).first(n_kv_layers);
  }
  [[nodiscard]] const RopeConfig& rope(LayerKind kind) const {
    return kind == LayerKind::sliding ? rope_sliding : rope_full;
  }
};

/// Errors: bad_file (a missing, mistyped or impossible value, naming key and values), unsupported
/// (another architecture, or a member of the family that is not supported yet, naming what).
Result<ModelConfig> read_config(const formats::GgufFile& file);

/// The key `name` of the file's architecture: "gemma4.NAME" where that is gemma4.
std::string config_key(const formats::GgufFile& file, std::string_view name);

/// What every architecture of the family says in the same words, read_config's included: all but
/// which layers have K and V of their own.
/// Errors: as read_config.
Result<ModelConfig> read_text_config(const formats::GgufFile& file);

}  // namespace kimberlite::model
