// Some consecutive columns of a tensor of rows, for kernels that read a part of each row.
#pragma once

#include "graph/tensor.hpp"

namespace kimberlite::kernels {

/// The columns first .. first + width - 1 of f32 [n_rows, any width]; the reader knows the width.
struct ColumnSlice {
  ColumnSlice() = default;
  ColumnSlice(const graph::Tensor& all_rows, uint64_t first_column = 0)  // NOLINT: a whole tensor
      : rows(all_rows), first(first_column) {}
  graph::Tensor rows;
  uint64_t first = 0;
};

/// Aborts where the slice does not have `width` columns in `n` rows.
inline void check_slice(const ColumnSlice& slice, uint64_t n, uint64_t width) {
  const graph::Tensor& rows = slice.rows;
  KL_CHECK(rows.dtype == graph::DType::f32 && rows.shape.rank() == 2, "rows are f32 [n, any]");
  KL_CHECK(rows.shape[0] == n && slice.first + width <= rows.shape[1], "rows of different shapes");
  KL_CHECK(rows.n_elements() <= UINT32_MAX, "more elements than 32 bits count");
}

}  // namespace kimberlite::kernels
