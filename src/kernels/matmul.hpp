// The product of a packed matrix with many columns: prefill. Shader: matvec.comp, in tiles of
// columns.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

/// The kernel of a type and class, for tests that go through its variants.
[[nodiscard]] const graph::KernelDesc& matmul_kernel(formats::GgmlType type,
                                                     LinearClass linear_class);

/// y = W x for a multiple of 8 columns; operands as for add_matvec. The result of a column does not
/// depend on the number of columns.
void add_matmul(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label);

}  // namespace kimberlite::kernels
