// A convolution that halves time and frequency, a norm over its channels, ReLU. Shader:
// conv2d.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kConv2d;

struct Conv2d {
  graph::Tensor x;       // f32 [n_in, width, c_in], width even
  graph::Tensor sizes;   // u32 [n]
  uint32_t size_index;   // which of them says how many frames of x count; the others are zero
  graph::Tensor taps;    // f32 [3 * 3, c_in, c_out], c_out a multiple of 4
  graph::Tensor weight;  // f32 [c_out]
  graph::Tensor y;       // f32 [n_in / 2, width / 2, c_out]
  float eps = 1e-6f;
};

/// y[t, f] = relu(norm(sum over 3 x 3 places around x[2t, 2f]) * weight). n_in is even.
void add_conv2d(graph::Graph& graph, const Conv2d& args, std::string label);

}  // namespace kimberlite::kernels
