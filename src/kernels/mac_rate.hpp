// How many multiply-accumulates a device could do, class by class: the yardstick of products.
// Shaders: mac_rate.comp, mac_rate_matrix.comp.
#pragma once

#include <cstdint>
#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kMacRate;
extern const graph::KernelDesc kMacRateDot;
extern const graph::KernelDesc kMacRatePairs;

[[nodiscard]] const graph::KernelDesc& mac_rate_kernel(LinearClass linear_class);

/// operands: u32 [2], the bits of a and b. y: u32 [n], n a multiple of 64.
void add_mac_rate(graph::Graph& graph, LinearClass linear_class, const graph::Tensor& operands,
                  const graph::Tensor& y, uint32_t n_rounds, std::string label);

/// Multiply-accumulates of products that one step of one chain of an invocation stands for.
[[nodiscard]] uint64_t macs_per_step(LinearClass linear_class, const vk::Caps& caps);

/// Those that `n` invocations do in `n_rounds`.
[[nodiscard]] uint64_t count_macs(LinearClass linear_class, const vk::Caps& caps, uint64_t n,
                                  uint32_t n_rounds);

}  // namespace kimberlite::kernels
