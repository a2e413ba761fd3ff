#include "kernels/linear.hpp"

#include <algorithm>

namespace kimberlite::kernels {

void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const graph::Tensor& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const uint64_t n = y.shape[0];
  for (uint64_t first = 0; first < n; first += kMaxColumns) {
    const uint64_t count = std::min(kMaxColumns, n - first);
    add_matvec(graph, w, input.x().rows(first, count), y.rows(first, count), label, epilogue);
  }
}

}  // namespace kimberlite::kernels
