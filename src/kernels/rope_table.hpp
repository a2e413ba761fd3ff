// RoPE as two small tables of angles, exact at every position of the longest context.
#pragma once

#include <cstdint>
#include <vector>

namespace kimberlite::kernels {

/// Positions in each of the two tables; their product covers 262,144 positions.
inline constexpr uint32_t kRopeTableRows = 512;

/// Pair i of a head rotates elements i and i + head_dim / 2 by position * theta^(-2i / head_dim),
/// for i below n_pairs; the others pass through.
struct RopeShape {
  uint32_t head_dim = 256;
  uint32_t n_pairs = 128;  // a multiple of 8, at most head_dim / 2
  double theta = 1e4;
  bool operator==(const RopeShape& other) const = default;
};

/// f32 [2, kRopeTableRows, n_pairs, 2]: {cos, sin} of the angle at positions 512 * row (first
/// table) and row (second table), computed in double precision. The angle at a position is the sum
/// of one entry of each; float32 arithmetic on position * frequency would lose 7 digits' worth of
/// angle at position 262,143.
[[nodiscard]] std::vector<float> make_rope_table(const RopeShape& rope);

}  // namespace kimberlite::kernels
