// One way to say y = W x: picks the decode or the prefill product, and has activations in the form
// that their matrices want, rounded by the kernel that computes them where it can.
#pragma once

#include <initializer_list>
#include <map>
#include <string>

#include "graph/graph.hpp"
#include "kernels/matvec.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

/// Activations that one or more matrices are multiplied with. Lives as long as the graph is built.
class LinearInput {
 public:
  using Readers = std::initializer_list<const PackedMatrix*>;

  /// x: f32 [n, width], written already; label: for the nodes that round it.
  LinearInput(const graph::Tensor& x, std::string label) : rows_(x), label_(std::move(label)) {}

  /// New rows [n, width], in every form that `readers` (matrices without rows are none) want.
  LinearInput(graph::Graph& graph, std::string label, uint64_t n, uint64_t width, Readers readers);

  /// The same for rows [n, width] whose float32 form is wanted in `f32` in any case.
  LinearInput(graph::Graph& graph, std::string label, const graph::Tensor& f32, Readers readers);

  /// For the kernel that computes them.
  [[nodiscard]] const ActivationRows& rows() const { return rows_; }

  /// Asks the kernel that writes x for rounded rows beside it; none where no reader wants them.
  ActivationRows add_rounded(graph::Graph& graph, Readers readers);

  /// The rows as the class wants them; rounded now where their kernel has not done it.
  graph::Tensor operand(graph::Graph& graph, LinearClass linear_class);

 private:
  ActivationRows rows_;
  std::string label_;
  std::map<LinearClass, graph::Tensor> rounded_;
};

/// y = W x, f32 [n, n_rows], or what a gated matrix makes of it; n up to kMaxColumns (column
/// invariant), or a multiple of 8 without an epilogue.
void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const ActivationRows& y, const std::string& label,
                const MatvecEpilogue& epilogue = {});

}  // namespace kimberlite::kernels
