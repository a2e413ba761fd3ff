#version 450
// y[t, f] = relu(norm(v) * weight), norm over the channels of
//
//   v[c] = sum_ijk x[2t + i - 1, 2f + j - 1, k] * taps[i, j, k, c]   i, j = 0..2
//
//   x       f32 [n_in, width, c_in]    places outside and frames from sizes[size_index] on are zero
//   sizes   u32                        frames of x that count; not in the push constants, for they
//                                      are fixed when the pass is recorded
//   taps    f32 [3, 3, c_in, c_out]    c_out a multiple of 4
//   weight  f32 [c_out]
//   y       f32 [n_out, width / 2, c_out]
//
// norm(v) = (v - mean(v)) / sqrt(mean((v - mean(v))^2) + eps). Grid: x = f, y = t; a subgroup for
// each, its lanes over channels; an invocation rereads only what it wrote itself. Accumulation:
// float32, precise, in the order of i, j, k. Source: transformers
// `Gemma4AudioSubSampleConvProjectionLayer`.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "conv2d.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { Conv2dPush p; };
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Sizes { uint sizes[]; };
layout(binding = 2, std430) readonly buffer Taps { vec4 taps[]; };
layout(binding = 3, std430) readonly buffer Weight { vec4 weight[]; };
layout(binding = 4, std430) buffer Y { vec4 y[]; };

// Channels 4c .. 4c + 3 at frame t, frequency f.
vec4 convolved(uint t, uint f, uint c, uint n_frames) {
  precise vec4 sum = vec4(0.0);
  for (uint i = 0; i < 3; ++i) {
    const uint frame = 2 * t + i - 1;  // beyond every size where it is -1
    if (frame >= n_frames) continue;
    for (uint j = 0; j < 3; ++j) {
      const uint place = 2 * f + j - 1;
      if (place >= p.width) continue;
      const uint from = (frame * p.width + place) * p.c_in;
      const uint tap = (3 * i + j) * p.c_in * p.c_out4 + c;
      for (uint k = 0; k < p.c_in; ++k) {
        sum = fma(vec4(x[from + k]), taps[tap + k * p.c_out4], sum);
      }
    }
  }
  return sum;
}

void main() {
  const uint f = gl_WorkGroupID.x;
  const uint t = gl_WorkGroupID.y;
  const uint first = (t * gl_NumWorkGroups.x + f) * p.c_out4;
  const uint lane = gl_SubgroupInvocationID;
  const uint n_frames = sizes[p.size_index];
  const float channels = float(4 * p.c_out4);
  precise float sum = 0.0;
  for (uint c = lane; c < p.c_out4; c += gl_SubgroupSize) {
    const vec4 value = convolved(t, f, c, n_frames);
    y[first + c] = value;
    sum = sum + ((value.x + value.y) + (value.z + value.w));
  }
  precise const float mean = subgroupAdd(sum) / channels;
  precise float squares = 0.0;
  for (uint c = lane; c < p.c_out4; c += gl_SubgroupSize) {
    precise const vec4 d = y[first + c] - mean;
    squares = fma(d.x, d.x, squares);
    squares = fma(d.y, d.y, squares);
    squares = fma(d.z, d.z, squares);
    squares = fma(d.w, d.w, squares);
  }
  precise const float variance = subgroupAdd(squares) / channels;
  precise const float factor = 1.0 / sqrt(variance + p.eps);
  for (uint c = lane; c < p.c_out4; c += gl_SubgroupSize) {
    precise const vec4 scaled = (y[first + c] - mean) * factor;
    precise const vec4 weighted = scaled * weight[c];
    y[first + c] = max(weighted, vec4(0.0));
  }
}
