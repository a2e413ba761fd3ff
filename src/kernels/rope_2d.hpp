// Head norms of a picture's patches and their rotation by the place in it. Shader: rope_2d.comp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kRope2d;

/// f32 [n_places, head_dim / 4, 2]: {cos, sin} of the angle place * theta^(-4 pair / head_dim), in
/// double precision: what either half of a head rotates by.
[[nodiscard]] std::vector<float> make_rope_2d_table(uint32_t n_places, uint32_t head_dim,
                                                    double theta);

struct Rope2d {
  graph::Tensor x;         // f32 [n, n_heads * head_dim], in place; head_dim a multiple of 4
  graph::Tensor weight;    // f32 [head_dim]
  graph::Tensor places{};  // u32 [n, 2]: column and row; unset, as the next: x does not rotate
  graph::Tensor table{};   // f32 [n_places, head_dim / 2]: make_rope_2d_table
  float eps = 1e-6f;
};

/// x = rope(rms(x) * weight) of every head.
void add_rope_2d(graph::Graph& graph, const Rope2d& args, std::string label);

}  // namespace kimberlite::kernels
