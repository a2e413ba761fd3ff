// The config.json of a Hugging Face Gemma 4 text model or drafter, as far as a GGUF file needs it.
// Internal to formats.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {

inline constexpr uint64_t kMaxWidth = 1 << 20;  // of any row of a matrix

struct HfTextConfig {
  uint64_t n_layers;
  uint64_t hidden;
  uint64_t ffn;
  uint64_t n_heads;
  uint64_t n_kv_sliding;
  uint64_t n_kv_full;
  uint64_t head_dim_sliding;
  uint64_t head_dim_full;
  uint64_t window;
  uint64_t context;
  uint64_t n_vocab;
  uint64_t n_shared_kv;     // tail layers that reuse an earlier layer's keys and values
  uint64_t per_layer;       // width of the per-layer inputs, 0 for none
  uint64_t n_experts;       // 0 for a dense model
  uint64_t n_experts_used;  // by one token
  uint64_t expert_ffn;
  uint64_t n_rotated_pairs;  // of the head_dim_full / 2 pairs of a full layer
  double rope_base_full;
  double rope_base_sliding;
  double rms_eps;
  double softcap;  // 0 for none
  bool double_wide_mlp;
  bool k_is_v;  // full layers have no value projection
  bool tied_embeddings;
  std::vector<bool> sliding;  // per layer
  std::optional<uint64_t> bos_id, eos_id, pad_id;
  uint64_t target_hidden;   // of a drafter: the width of the model it drafts for; 0 for a model
  uint64_t n_centroids;     // of a drafter with a sparse head, 0 for a dense one
  uint64_t centroid_top_k;  // clusters that the sparse head looks into

  [[nodiscard]] bool is_drafter() const { return target_hidden != 0; }
  /// general.architecture, the prefix of the keys.
  [[nodiscard]] std::string_view architecture() const {
    return is_drafter() ? "gemma4-assistant" : "gemma4";
  }
  [[nodiscard]] bool owns_kv(uint64_t layer) const { return layer < n_layers - n_shared_kv; }
  [[nodiscard]] uint64_t head_dim(uint64_t layer) const {
    return sliding[layer] ? head_dim_sliding : head_dim_full;
  }
  [[nodiscard]] uint64_t n_kv(uint64_t layer) const {
    return sliding[layer] ? n_kv_sliding : n_kv_full;
  }
  [[nodiscard]] uint64_t ffn_width(uint64_t layer) const {
    return double_wide_mlp && !owns_kv(layer) ? 2 * ffn : ffn;
  }
};

/// Reads and range-checks the whole config.json of a model. Refuses other models by name.
Result<HfTextConfig> read_hf_config(const JsonObject& config);

/// The text_config within. A drafter's layers may all share the keys and values of others.
Result<HfTextConfig> read_hf_text_config(const JsonObject& text, bool of_drafter);

/// Sets general.architecture and every key that models and drafters both have.
void write_hf_config(const HfTextConfig& config, GgufWriter& writer);

}  // namespace kimberlite::formats
