// A gate, a causal convolution of each channel, a norm and SiLU. Shader: light_conv.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "shaders/light_conv.h"

namespace kimberlite::kernels {

extern const graph::KernelDesc kLightConv;

struct LightConv {
  graph::Tensor x;       // f32 [n, 2 * width], width a multiple of 4: values, then their gates
  graph::Tensor taps;    // f32 [shaders::kLightTaps, width], the oldest row first
  graph::Tensor weight;  // f32 [width], of the norm
  graph::Tensor y;       // f32 [n, width]
  float eps = 1e-6f;
};

/// y = silu(rms(convolution of values * sigmoid(gates)) * weight), each row from itself and those
/// before it.
void add_light_conv(graph::Graph& graph, const LightConv& args, std::string label);

}  // namespace kimberlite::kernels
