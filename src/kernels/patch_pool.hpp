// Patches of a picture to its tokens. Shader: patch_pool.comp.
#pragma once

#include <cstdint>
#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kPatchPool;

struct PatchPool {
  graph::Tensor x;       // f32 [>= n_x * merge * n_y * merge, width]: patches row by row
  graph::Tensor bias{};  // f32 [width], as the next; both or neither
  graph::Tensor factor{};
  graph::Tensor y;     // f32 [n_y * n_x, width]
  uint32_t n_x = 0;    // tokens of a row of the picture
  uint32_t merge = 3;  // patches on a side of a token
  float scale = 1.0f;
};

/// y = scale * mean of each token's patches; (that - bias) * factor where those are there. width: a
/// multiple of 4.
void add_patch_pool(graph::Graph& graph, const PatchPool& args, std::string label);

}  // namespace kimberlite::kernels
