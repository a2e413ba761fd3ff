#include "kernels/matvec.hpp"

#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

const graph::KernelDesc& matvec_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matvec_kernel(type, linear_class);
}

void add_matvec(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const graph::Tensor& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const uint64_t n = x.shape[0];
  KL_CHECK(n >= 1 && n <= kMaxColumns, "1 to 8 columns");
  add_panel_product(graph, matvec_kernel(w.type, w.linear_class), w, x, y, label,
                    static_cast<uint32_t>(n), epilogue.softcap);
}

}  // namespace kimberlite::kernels
