// One way to say y = W x: picks the decode or the prefill product, and rounds the activations once
// where several matrices of an int8 class share them.
#pragma once

#include <map>
#include <string>

#include "graph/graph.hpp"
#include "kernels/matvec.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

/// Activations that one or more matrices are multiplied with. Lives as long as the graph is built.
class LinearInput {
 public:
  /// x: f32 [n, width]; label: for the nodes that round it.
  LinearInput(graph::Tensor x, std::string label) : x_(x), label_(std::move(label)) {}

  /// x as the class wants it; rounded at the first call.
  graph::Tensor operand(graph::Graph& graph, LinearClass linear_class);

 private:
  graph::Tensor x_;
  std::string label_;
  std::map<LinearClass, graph::Tensor> rounded_;
};

/// y = W x. y: f32 [n, n_rows]; n up to kMaxColumns (column invariant), or a multiple of 8 without
/// an epilogue.
void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const graph::Tensor& y, const std::string& label,
                const MatvecEpilogue& epilogue = {});

}  // namespace kimberlite::kernels
