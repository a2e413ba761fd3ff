// Activations for the int8 classes: rounded by the kernel that computes them, or by one of their
// own. Shaders: common/round_rows.glsl, quant_act.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kQuantAct;

/// u32 words of one rounded row of `n_cols` elements, a multiple of 32.
[[nodiscard]] uint64_t quantized_width(LinearClass linear_class, uint64_t n_cols);

/// Whether kernels can round the rows that they compute: 8 lanes of a subgroup share a block of 32
/// elements.
[[nodiscard]] bool can_round_rows(const vk::Caps& caps, uint64_t width);

/// Where a kernel writes rows of activations: float32, rounded for an int8 class, or both. Several
/// kernels take this where a float32 tensor alone is the plain case.
struct ActivationRows {
  ActivationRows() = default;
  ActivationRows(const graph::Tensor& rows) : f32(rows) {}  // NOLINT: the plain case

  graph::Tensor f32;                       // f32 [n, width]; not valid(): not wanted
  graph::Tensor rounded;                   // u32 [n, quantized_width]; not valid(): not wanted
  LinearClass rounding{LinearClass::f32};  // of `rounded`

  /// OUTPUTS of common/round_rows.glsl.
  [[nodiscard]] uint32_t outputs() const;
  /// For the bindings y and y_q; a kernel does not touch what is not wanted.
  [[nodiscard]] const graph::Tensor& y() const { return f32.valid() ? f32 : rounded; }
  [[nodiscard]] const graph::Tensor& y_q() const { return rounded.valid() ? rounded : f32; }
  [[nodiscard]] uint64_t n_bytes() const { return f32.n_bytes + rounded.n_bytes; }
};

/// Aborts where `rows` are not [n, width].
void check_activation_rows(const ActivationRows& rows, const vk::Caps& caps, uint64_t n,
                           uint64_t width);

/// x: f32 [n, n_cols], n_cols a multiple of 32. Returns a transient u32 [n, quantized_width], the
/// operand of add_matvec and add_matmul for every matrix of this class that takes x.
graph::Tensor add_quant_act(graph::Graph& graph, const graph::Tensor& x, LinearClass linear_class,
                            std::string label);

/// The same into a tensor of the caller's.
void add_quant_act(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& x_q,
                   LinearClass linear_class, std::string label);

}  // namespace kimberlite::kernels
