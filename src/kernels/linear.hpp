// One way to say y = W x: picks the decode or the prefill product, and rounds the activations once
// where several matrices of an int8 class share them.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/matvec.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

/// Activations that one or more matrices are multiplied with.
class LinearInput {
 public:
  /// x: f32 [n, width].
  explicit LinearInput(const graph::Tensor& x) : x_(x) {}
  [[nodiscard]] const graph::Tensor& x() const { return x_; }

 private:
  graph::Tensor x_;
};

/// y = W x. y: f32 [n, n_rows]. Up to kMaxColumns columns are column invariant.
void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const graph::Tensor& y, const std::string& label,
                const MatvecEpilogue& epilogue = {});

}  // namespace kimberlite::kernels
