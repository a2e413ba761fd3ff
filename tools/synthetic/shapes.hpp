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

/// Dense Gemma 4 text decoder: sliding layers with their own V, full layers where K doubles as V.
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
};

/// tiny12, tiny12-odd, tiny12-k, tiny31, 12b, 31b.
std::span<const ModelShape> named_shapes();
std::optional<ModelShape> find_shape(std::string_view name);

/// One tensor of the file, by its GGUF name.
struct TensorSpec {
  std::string name;
  std::vector<uint64_t> ne;  // input first
  bool is_full = false;      // belongs to a full layer
  bool is_matrix = false;    // stored in the type asked for; everything else is f32

  [[nodiscard]] uint64_t n_elements() const;
};

/// Every tensor, in the order of the file. rope_freqs.weight is among them and is no hash.
std::vector<TensorSpec> list_tensors(const ModelShape& shape);

}  // namespace kimberlite::synthetic
