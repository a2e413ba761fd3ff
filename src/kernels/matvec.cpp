#include "kernels/matvec.hpp"

#include "base/numeric.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

namespace {

/// GPUs read each weight once. On a CPU driver products cost more than weights: tiles of at most
/// pick_prefill_columns, and as wide as each other, so that no column is computed for nothing.
uint32_t pick_tile_columns(const graph::Variant& variant, const vk::Caps& caps, uint32_t n) {
  if (variant.name.starts_with("split")) return n;
  return div_up(n, div_up(n, pick_prefill_columns(caps)));
}

}  // namespace

const graph::KernelDesc& matvec_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matvec_kernel(type, linear_class);
}

void add_matvec(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const auto n = static_cast<uint32_t>(x.shape[0]);
  KL_CHECK(n >= 1 && n <= kMaxColumns, "1 to 8 columns");
  const graph::KernelDesc& kernel = matvec_kernel(w.type, w.linear_class);
  add_panel_product(graph, kernel, w, x, y, label,
                    pick_tile_columns(graph.pick(kernel), graph.caps(), n), epilogue.softcap);
}

}  // namespace kimberlite::kernels
