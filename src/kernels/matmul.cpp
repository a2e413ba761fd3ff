#include "kernels/matmul.hpp"

#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

const graph::KernelDesc& matmul_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matmul_kernel(type, linear_class);
}

void add_matmul(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label) {
  KL_CHECK(x.shape[0] % 8 == 0, "a multiple of 8 columns");
  add_panel_product(graph, matmul_kernel(w.type, w.linear_class), w, x, y, label,
                    pick_prefill_columns(graph.caps()), 0);
}

}  // namespace kimberlite::kernels
