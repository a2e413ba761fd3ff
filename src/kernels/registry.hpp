// The explicit list of every kernel.
#pragma once

#include <compare>
#include <span>

#include "formats/ggml_type.hpp"
#include "graph/kernel_desc.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

/// A weight type and the arithmetic of its products. Each pair has kernels of its own.
struct MatrixKind {
  formats::GgmlType type{};
  LinearClass linear_class{};
  auto operator<=>(const MatrixKind&) const = default;
};

/// Every pair that matrices can be packed for.
[[nodiscard]] std::span<const MatrixKind> matrix_kinds();

/// Each description once, in the order of the catalogue (shaders/README.md).
[[nodiscard]] std::span<const graph::KernelDesc* const> all_kernels();

}  // namespace kimberlite::kernels
