#include "kernels/matvec.hpp"

#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

namespace {

/// GPUs read each weight once. On a CPU driver products cost more than weights, two tiles of 4 take
/// 0.83 of the time of one tile of 8 (lavapipe, Q4_0 3840x3840, 2026-11-21), and each width that is
/// not needed saves 0.25 to 0.4 s of compilation.
uint32_t pick_tile_columns(const vk::Caps& caps, uint32_t n) {
  return caps.is_cpu && n > 2 ? 4 : n;
}

}  // namespace

const graph::KernelDesc& matvec_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matvec_kernel(type, linear_class);
}

void add_matvec(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const graph::Tensor& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const auto n = static_cast<uint32_t>(x.shape[0]);
  KL_CHECK(n >= 1 && n <= kMaxColumns, "1 to 8 columns");
  add_panel_product(graph, matvec_kernel(w.type, w.linear_class), w, x, y, label,
                    pick_tile_columns(graph.caps(), n), epilogue.softcap);
}

}  // namespace kimberlite::kernels
