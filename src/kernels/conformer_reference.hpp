// What the kernels of the encoder of sounds compute, on the CPU in double precision, with bounds as
// in kernels/reference.hpp.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/reference.hpp"

namespace kimberlite::kernels::reference {

/// x * sigmoid(x).
[[nodiscard]] Expected silu(std::span<const float> x);

struct Conv2dArgs {
  std::span<const float> x;  // [n_in, width, c_in]
  uint64_t n_frames = 0;     // of x that count
  uint64_t width = 0;
  std::span<const float> taps;    // [3, 3, c_in, c_out]
  std::span<const float> weight;  // [c_out]
  uint64_t n_out = 0;
  float eps = 1e-6f;
};
/// [n_out, width / 2, c_out], as shaders/conv2d.comp.
[[nodiscard]] Expected conv2d(const Conv2dArgs& args);

struct LocalAttentionArgs {
  std::span<const float> q;  // [n, n_heads * scale.size()], as k and v
  std::span<const float> k;
  std::span<const float> v;
  std::span<const float> relative;  // [window or more, n_heads * scale.size()]
  std::span<const float> scale;
  uint64_t n_heads = 0;
  float k_scale = 1.0f;
  float cap = 50.0f;
  uint64_t window = 12;
};
[[nodiscard]] Expected local_attention(const LocalAttentionArgs& args);

/// silu(rms(convolution) * weight), as shaders/light_conv.comp. x: [n, 2 * weight.size()], taps:
/// [n_taps, weight.size()].
[[nodiscard]] Expected light_conv(std::span<const float> x, std::span<const float> taps,
                                  std::span<const float> weight, float eps);

}  // namespace kimberlite::kernels::reference
