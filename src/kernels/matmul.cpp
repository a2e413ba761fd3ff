#include "kernels/matmul.hpp"

#include "kernels/panel_product.hpp"

namespace kimberlite::kernels {

const graph::KernelDesc& matmul_kernel(formats::GgmlType type, LinearClass linear_class) {
  return find_matmul_kernel(type, linear_class);
}

void add_matmul(graph::Graph& graph, const PackedMatrix& w, const graph::Tensor& x,
                const graph::Tensor& y, const std::string& label) {
  KL_CHECK(x.shape[0] % 8 == 0, "a multiple of 8 columns");
  // Columns of a tile: 8 rows x 4 columns a lane was the best of 4x4..16x4 on lavapipe 22 (SWAR 87,
  // f32 62 GMAC/s at 3840x3840x64, 2 cores of Zen 5). GPUs have 1 or 2 rows a lane and take 8.
  const uint32_t tile_columns = graph.caps().is_cpu ? 4 : 8;
  add_panel_product(graph, matmul_kernel(w.type, w.linear_class), w, x, y, label, tile_columns, 0);
}

}  // namespace kimberlite::kernels
