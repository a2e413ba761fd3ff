// What the kernels of a picture's encoder compute, as reference.hpp has it for the others.
#pragma once

#include "kernels/reference.hpp"

namespace kimberlite::kernels::reference {

struct Rope2dArgs {
  std::span<const float> x;          // [n, n_heads, weight.size()]
  std::span<const float> weight;     // [head_dim]
  std::span<const uint32_t> places;  // [n, 2]: column and row; empty: x does not rotate
  uint64_t n_heads = 1;
  double theta = 100;
  float eps = 1e-6f;
};
[[nodiscard]] Expected rope_2d(const Rope2dArgs& args);

struct TowerAttentionArgs {
  std::span<const float> q;  // [n_queries, n_heads, head_dim]
  std::span<const float> k;  // [n_keys, n_heads, head_dim], as v
  std::span<const float> v;
  uint64_t n_keys = 0;
  uint64_t n_heads = 1;
  uint64_t head_dim = 0;
};
[[nodiscard]] Expected tower_attention(const TowerAttentionArgs& args);

struct PatchPoolArgs {
  std::span<const float> x;       // [n_y * merge, n_x * merge, width]
  std::span<const float> bias{};  // [width], or nothing, as factor
  std::span<const float> factor{};
  uint64_t width = 0;
  uint64_t n_x = 0;
  uint64_t merge = 3;
  float scale = 1;
};
[[nodiscard]] Expected patch_pool(const PatchPoolArgs& args);

}  // namespace kimberlite::kernels::reference
