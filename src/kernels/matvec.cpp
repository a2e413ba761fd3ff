#include "kernels/matvec.hpp"

#include "base/numeric.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

namespace {

/// GPUs read each weight once, or twice for half the registers. On a CPU driver products cost more
/// than weights: tiles of at most pick_prefill_columns. All are as wide as each other, so that no
/// column is computed for nothing.
PanelWays list_ways(const graph::Variant& variant, const vk::Caps& caps, uint32_t n) {
  const auto even = [&](uint32_t most) { return div_up(n, div_up(n, most)); };
  PanelWays ways;
  if (variant.name.starts_with("split")) {
    ways.add(variant, {n, div_up(n, 2u)});
  } else {
    const uint32_t best = pick_prefill_columns(caps);
    ways.add(variant, {even(best), even(best / 2)});
  }
  return ways;
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
  add_panel_product(graph, kernel, w, x, y, label, list_ways(graph.pick(kernel), graph.caps(), n),
                    epilogue.softcap);
}

}  // namespace kimberlite::kernels
