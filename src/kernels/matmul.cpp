#include "kernels/matmul.hpp"

#include "base/numeric.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

namespace {

/// Cooperative matrices are whole, and tiles even.
void add_matrix_ways(PanelWays& ways, const graph::Variant& variant, const vk::Caps& caps,
                     uint64_t n) {
  const uint64_t n_tiles = div_up<uint64_t>(n, caps.matrix_columns);
  const auto widest =
      static_cast<uint32_t>(align_up<uint64_t>(div_up(n, n_tiles), caps.int8_matrix.n));
  ways.add(variant, {widest, align_up(widest / 2, caps.int8_matrix.n)});
}

/// Of every variant whose sums have the parts of K that the best one's have.
PanelWays list_ways(const graph::Graph& graph, const graph::KernelDesc& kernel, uint64_t n) {
  const vk::Caps& caps = graph.caps();
  const bool splits = graph.pick(kernel).name.starts_with("split");
  PanelWays ways;
  for (const graph::Variant& variant : kernel.variants) {
    if (!graph.can_use(kernel, variant) || variant.name.starts_with("split") != splits) continue;
    if (variant.name == kSplitMatrix) {
      add_matrix_ways(ways, variant, caps, n);
    } else {
      const uint32_t best = pick_prefill_columns(caps);
      ways.add(variant, {best, best / 2});
    }
  }
  if (ways.all().empty()) ways.add(graph.pick(kernel), {pick_prefill_columns(caps)});
  return ways;
}

}  // namespace

const graph::KernelDesc& matmul_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matmul_kernel(type, linear_class);
}

void add_matmul(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label) {
  KL_CHECK(x.shape[0] % 8 == 0, "a multiple of 8 columns");
  const graph::KernelDesc& kernel = matmul_kernel(w.type, w.linear_class);
  add_panel_product(graph, kernel, w, x, y, label, list_ways(graph, kernel, x.shape[0]), 0);
}

}  // namespace kimberlite::kernels
