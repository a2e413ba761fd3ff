#include "kernels/matmul.hpp"

#include "base/numeric.hpp"
#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

namespace {

/// Cooperative matrices are whole, and tiles even.
uint32_t pick_tile_columns(const graph::Variant& variant, const vk::Caps& caps, uint64_t n) {
  if (variant.name != "split_matrix") return pick_prefill_columns(caps);
  const uint64_t n_tiles = div_up<uint64_t>(n, caps.matrix_columns);
  return static_cast<uint32_t>(align_up<uint64_t>(div_up(n, n_tiles), caps.int8_matrix.n));
}

}  // namespace

const graph::KernelDesc& matmul_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matmul_kernel(type, linear_class);
}

void add_matmul(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const ActivationRows& y, const std::string& label) {
  KL_CHECK(x.shape[0] % 8 == 0, "a multiple of 8 columns");
  const graph::KernelDesc& kernel = matmul_kernel(w.type, w.linear_class);
  add_panel_product(graph, kernel, w, x, y, label,
                    pick_tile_columns(graph.pick(kernel), graph.caps(), x.shape[0]), 0);
}

}  // namespace kimberlite::kernels
