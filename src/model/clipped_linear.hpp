// A product whose activations and results are kept between bounds that come with its matrix: the
// linear layers of the encoders of pictures and sounds.
#pragma once

#include <deque>
#include <string>
#include <utility>

#include "graph/graph.hpp"
#include "kernels/clip.hpp"
#include "kernels/linear.hpp"

namespace kimberlite::model {

struct ClippedLinearWeights {
  kernels::PackedMatrix matrix;
  kernels::Bounds input;  // open where the file has none, as the next
  kernels::Bounds output;
};

/// Activations f32 [n, width] that one or more such products take, clipped once for each pair of
/// bounds. Lives as long as the graph is built.
class ClippedInput {
 public:
  /// x is written already; label: for the nodes that clip it.
  ClippedInput(const graph::Tensor& x, std::string label) : x_(x), label_(std::move(label)) {}

  /// x within the bounds.
  kernels::LinearInput& within(graph::Graph& graph, const kernels::Bounds& bounds);

 private:
  graph::Tensor x_;
  std::string label_;
  std::deque<std::pair<kernels::Bounds, kernels::LinearInput>> clipped_;
};

/// y = clip(W clip(x)), f32 [n, n_rows]; n as of add_linear. y must not be what x views.
void add_clipped_linear(graph::Graph& graph, const ClippedLinearWeights& w, ClippedInput& x,
                        const graph::Tensor& y, const std::string& label);

}  // namespace kimberlite::model
