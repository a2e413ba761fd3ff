#version 450
// y[t] = silu(rms(c) * weight), where each channel i has a causal convolution over time of its own:
//
//   c[i] = sum_j taps[j, i] * g[t + j - 4, i]      j = 0..kLightTaps - 1, zero before the first row
//   g    = a * sigmoid(b), the halves of x = [a, b]
//
//   x       f32 [n, 2 * width]   width a multiple of 4
//   taps    f32 [kLightTaps, width]
//   weight  f32 [width]
//   y       f32 [n, width]
//
// rms(c) = c / sqrt(mean(c^2) + eps). Grid: x = row. A row belongs to one subgroup, or to the
// workgroup with WORKGROUP_ROWS; an invocation rereads only what it wrote itself. The gates are
// computed for every row that reads them, which is less than to write them and wait. Accumulation:
// float32, precise. Source: Wu et al. 2019, "Pay Less Attention with Lightweight and Dynamic
// Convolutions"; Gulati et al. 2020; transformers `Gemma4AudioLightConv1d`.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "light_conv.h"
#include "common/reduce.glsl"
#include "common/silu.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { LightConvPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) readonly buffer Taps { vec4 taps[]; };
layout(binding = 2, std430) readonly buffer Weight { vec4 weight[]; };
layout(binding = 3, std430) buffer Y { vec4 y[]; };

vec4 gated(uint row, uint i) {
  const vec4 a = x[2 * row * p.width4 + i];
  const vec4 b = x[(2 * row + 1) * p.width4 + i];
  precise const vec4 result = a * vec4(sigmoid(b.x), sigmoid(b.y), sigmoid(b.z), sigmoid(b.w));
  return result;
}

void main() {
  const uint first = ROW_INDEX * p.width4;
  precise float squares = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise vec4 sum = vec4(0.0);
    for (uint j = 0; j < kLightTaps; ++j) {
      const uint row = ROW_INDEX + j - (kLightTaps - 1);  // beyond ROW_INDEX where it is negative
      if (row <= ROW_INDEX) sum = fma(taps[j * p.width4 + i], gated(row, i), sum);
    }
    y[first + i] = sum;
    squares = fma(sum.x, sum.x, squares);
    squares = fma(sum.y, sum.y, squares);
    squares = fma(sum.z, sum.z, squares);
    squares = fma(sum.w, sum.w, squares);
  }
  precise const float mean = reduce_add(squares) / float(4 * p.width4);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 scaled = y[first + i] * factor;
    precise const vec4 normed = scaled * weight[i];
    y[first + i] = vec4(silu(normed.x), silu(normed.y), silu(normed.z), silu(normed.w));
  }
}
