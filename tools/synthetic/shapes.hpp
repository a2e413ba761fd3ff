// The shapes of synthetic models: tiny ones with the real structure, and the real sizes.
// tools/reference/shapes.py holds the tiny ones too; a test compares both through tests/golden.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kimberlite::synthetic {

/// A Gemma 4 text decoder. The defaults are those of the dense models: sliding layers with their
/// own V, full layers where K doubles as V.
struct ModelShape {
  std::string name;
  uint32_t n_layers;
  uint32_t hidden;
  uint32_t ffn;
  uint32_t n_heads;
  uint32_t n_kv_sliding;
  uint32_t n_kv_full;
  uint32_t vocab;
  uint32_t window;  // keys that a query of a sliding layer sees, itself included
  uint32_t head_dim_sliding = 256;
  uint32_t head_dim_full = 512;
  uint32_t full_period = 6;
  uint32_t context = 262144;
  float rope_theta_sliding = 1e4f;
  float rope_theta_full = 1e6f;
  float partial_rotary = 0.25f;  // share of a full head that rotates
  float softcap = 30.0f;
  float eps = 1e-6f;
  bool k_is_v = true;        // full layers have no V projection
  uint32_t n_shared_kv = 0;  // layers at the end that read an earlier layer's keys and values
  bool double_wide = false;  // whether those layers have twice the ffn
  // Whether they hold K and V tensors all the same, which no result depends on: some files do.
  bool stores_unused_kv = false;
  uint32_t per_layer = 0;  // width of the per-layer inputs
  uint32_t n_experts = 0;
  uint32_t n_experts_used = 0;  // by one token
  uint32_t expert_ffn = 0;
  bool split_experts = false;  // gate and up of the experts as two tensors, with the same values
  // Of a drafter, whose layers all read the target's keys and values; 0: this is no drafter.
  uint32_t target_hidden = 0;
  uint32_t n_clusters = 0;       // of its sparse head; 0: a dense one
  uint32_t n_clusters_used = 0;  // by one token

  [[nodiscard]] bool is_drafter() const { return target_hidden != 0; }

  /// Every full_period-th layer, and always the last one.
  [[nodiscard]] bool is_full(uint32_t layer) const {
    return layer % full_period == full_period - 1 || layer + 1 == n_layers;
  }
  [[nodiscard]] uint32_t head_dim(uint32_t layer) const {
    return is_full(layer) ? head_dim_full : head_dim_sliding;
  }
  [[nodiscard]] uint32_t n_kv(uint32_t layer) const {
    return is_full(layer) ? n_kv_full : n_kv_sliding;
  }
  [[nodiscard]] bool owns_kv(uint32_t layer) const { return layer + n_shared_kv < n_layers; }
  [[nodiscard]] uint32_t ffn_width(uint32_t layer) const {
    return double_wide && !owns_kv(layer) ? 2 * ffn : ffn;
  }
  /// The same model with another depth; the part of it that shares keys and values stays in
  /// proportion.
  [[nodiscard]] ModelShape with_layers(uint32_t n) const;
};

/// tiny12, tiny12-odd, tiny12-k, tiny31, tiny-e2b, tiny-e4b, tiny26, 12b, 31b, e2b, e4b, 26b; and
/// the drafters of all but tiny12-odd and tiny12-k, as "tiny12-drafter".
std::span<const ModelShape> named_shapes();
std::optional<ModelShape> find_shape(std::string_view name);

/// One tensor of the file, by its GGUF name.
struct TensorSpec {
  std::string name;
  std::vector<uint64_t> ne;  // input first
  bool is_full = false;      // belongs to a full layer
  bool is_matrix = false;    // stored in the type asked for; everything else is f32
  std::string hash_name;     // whose hash the values are: `name`, or the fused tensor's
  // Which half of each of the fused tensor's matrices this is.
  std::optional<uint32_t> half = std::nullopt;
  bool is_ordering = false;  // i32: a permutation by hash (tools/README.md)

  [[nodiscard]] uint64_t n_elements() const;
};

/// Every tensor, in the order of the file. rope_freqs.weight is among them and is no hash, nor are
/// the values of an ordering.
std::vector<TensorSpec> list_tensors(const ModelShape& shape);

}  // namespace kimberlite::synthetic
