// The product of a packed matrix with a few columns: decode and verify. Shader: matvec.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

inline constexpr uint64_t kMaxColumns = 8;  // of a decode pass

/// The kernel of a type and class, for tests that go through its variants.
[[nodiscard]] const graph::KernelDesc& matvec_kernel(formats::GgmlType type,
                                                     LinearClass linear_class);

struct MatvecEpilogue {
  float softcap = 0;  // c: y = c * tanh(y / c); 0: none
};

/// y = W x for 1 to 8 columns, one node for each shard. x: f32 [n, n_cols rounded up to 4], where
/// what is beyond n_cols is finite; for a matrix of an int8 class what add_quant_act made of it.
/// y: f32 [n, n_rows]; of a gated matrix gelu_tanh(gate) * up, [n, n_rows / 2] in either form.
/// Column invariant.
void add_matvec(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label,
                const MatvecEpilogue& epilogue = {});

}  // namespace kimberlite::kernels
