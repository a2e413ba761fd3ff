// Activations for the int8 classes. Shader: quant_act.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

/// The kernel of an int8 class, for tests that go through its variants.
[[nodiscard]] const graph::KernelDesc& quant_act_kernel(LinearClass linear_class);

/// u32 words of one quantised row of `n_cols` elements, a multiple of 32.
[[nodiscard]] uint64_t quantized_width(LinearClass linear_class, uint64_t n_cols);

/// x: f32 [n, n_cols], n_cols a multiple of 32. Returns a transient u32 [n, quantized_width], the
/// operand of add_matvec and add_matmul for every matrix of this class that takes x.
graph::Tensor add_quant_act(graph::Graph& graph, const graph::Tensor& x, LinearClass linear_class,
                            std::string label);

/// The same into a tensor of the caller's.
void add_quant_act(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& x_q,
                   LinearClass linear_class, std::string label);

}  // namespace kimberlite::kernels
