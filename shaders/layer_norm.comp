#version 450
// y = (v - mean(v)) / sqrt(mean((v - mean(v))^2) + eps) * weight + bias, or where kCentred is false
// v / sqrt(mean(v^2) + eps) * weight, for every row v of
//
//   x                kAdded 0
//   x + shift        kAdded 1: the bias of the product that made x
//   x + (a + b)      kAdded 2: a place in a picture, by its column and by its row
//
//   x, a, b  f32 [n_rows, width]   width a multiple of 4; what kAdded leaves out is not read
//   shift, weight, bias  f32 [width]
//   y        f32 [n_rows, width]
//
// Grid: x = row. A row belongs to one subgroup, or to the workgroup with WORKGROUP_ROWS.
// Accumulation: float32, precise; the mean first, then the squares around it. Source: Ba, Kiros &
// Hinton 2016, "Layer Normalization", eq. 3; transformers `Gemma4UnifiedVisionEmbedder`.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "layer_norm.h"
#include "common/reduce.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kAdded = 0;
layout(constant_id = 2) const bool kCentred = true;
layout(push_constant, std430) uniform Push { LayerNormPush p; };
layout(binding = 0, std430) readonly buffer X { vec4 x[]; };
layout(binding = 1, std430) readonly buffer Shift { vec4 shift[]; };
layout(binding = 2, std430) readonly buffer A { vec4 a[]; };
layout(binding = 3, std430) readonly buffer B { vec4 b[]; };
layout(binding = 4, std430) readonly buffer Weight { vec4 weight[]; };
layout(binding = 5, std430) readonly buffer Bias { vec4 bias[]; };
layout(binding = 6, std430) writeonly buffer Y { vec4 y[]; };

vec4 load(uint first, uint i) {
  precise vec4 value = x[first + i];
  if (kAdded == 1) value = value + shift[i];
  if (kAdded == 2) {
    precise const vec4 place = a[first + i] + b[first + i];
    value = value + place;
  }
  return value;
}

void main() {
  const uint first = ROW_INDEX * p.width4;
  const float width = float(4 * p.width4);
  precise float sum = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    const vec4 value = load(first, i);
    sum = sum + ((value.x + value.y) + (value.z + value.w));
  }
  precise const float row_mean = reduce_add(sum) / width;
  const float mean = kCentred ? row_mean : 0.0;
  precise float squares = 0.0;
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 d = load(first, i) - mean;
    squares = fma(d.x, d.x, squares);
    squares = fma(d.y, d.y, squares);
    squares = fma(d.z, d.z, squares);
    squares = fma(d.w, d.w, squares);
  }
  precise const float variance = reduce_add(squares) / width;
  precise const float factor = 1.0 / sqrt(variance + p.eps);
  for (uint i = ROW_LANE; i < p.width4; i += ROW_LANES) {
    precise const vec4 scaled = (load(first, i) - mean) * factor;
    precise vec4 result = scaled * weight[i];
    if (kCentred) result = fma(scaled, weight[i], bias[i]);
    y[first + i] = result;
  }
}
