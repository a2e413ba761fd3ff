// What matvec and matmul share: their kernels, tile shapes and nodes. Shader: matvec.comp.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

/// The variant of a product of many columns that takes cooperative matrices.
inline constexpr std::string_view kSplitMatrix = "split_matrix";

/// Specialisation constants of panel.glsl, in the order of their ids.
struct PanelShape {
  uint32_t workgroup = 0;  // invocations
  uint32_t lanes = 8;      // of a panel
  uint32_t columns = 1;    // of a tile
  uint32_t splits = 1;     // of K
  bool spread = false;
  bool mask_only = false;
  bool tail = false;
  uint32_t format = 0;  // shaders/common/coded.h
  bool experts = false;
  bool gated = false;
  uint32_t outputs = 1;        // of a gated product: shaders/common/outputs.h
  vk::MatrixShape matrix;      // of variant kSplitMatrix, like the two below
  uint32_t groups = 1;         // of a block of 32, each with a scale
  bool has_least = false;      // and a minimum
  uint32_t subgroup_size = 0;  // graph::Node::subgroup_size; no constant

  [[nodiscard]] uint32_t panels_per_workgroup() const { return workgroup / (lanes * splits); }
  [[nodiscard]] std::vector<uint32_t> constants() const;
};

/// The shape for tiles of `tile_columns`, for variants kSplitMatrix, "split_dot", "split",
/// "panel_dot" and "panel".
[[nodiscard]] PanelShape pick_panel_shape(const graph::Variant& variant, const vk::Caps& caps,
                                          const PackedMatrix& w, uint64_t n_panels,
                                          uint32_t tile_columns);

/// Columns of a tile where there are many: 8 rows x 4 columns a lane was the best of 4x4..16x4 on
/// lavapipe 22 (SWAR 87, f32 62 GMAC/s at 3840x3840x64, 2 cores of Zen 5). GPUs have 1 or 2 rows a
/// lane and take 8, but for small subgroups: a panel's lanes are in one subgroup.
[[nodiscard]] inline uint32_t pick_prefill_columns(const vk::Caps& caps) {
  return caps.is_cpu || caps.subgroup_size < 16 ? 4 : 8;
}

/// A way to cut a product of many columns into tiles.
struct PanelWay {
  const graph::Variant* variant = nullptr;
  uint32_t tile_columns = 1;
  bool operator==(const PanelWay& other) const = default;
};

/// Ways with the same bits, the default first; those that are there already are left out.
class PanelWays {
 public:
  void add(const graph::Variant& variant, std::initializer_list<uint32_t> tile_columns);
  /// What the graph's policy chooses for this work.
  [[nodiscard]] const PanelWay& choose(const graph::Graph& graph, const std::string& work) const;
  [[nodiscard]] std::span<const PanelWay> all() const { return ways_; }

 private:
  std::vector<PanelWay> ways_;
};

[[nodiscard]] const graph::KernelDesc& find_matvec_kernel(formats::GgmlType type,
                                                          LinearClass linear_class);
[[nodiscard]] const graph::KernelDesc& find_matmul_kernel(formats::GgmlType type,
                                                          LinearClass linear_class);

/// How slots (a token and one of its experts) are cut into tiles of one expert each.
struct ExpertTiling {
  uint32_t columns = 1;      // slots of a tile at most
  bool by_matrices = false;  // their products are of cooperative matrices
};

/// Slots sorted by expert, in tiles.
struct ExpertTiles {
  graph::Tensor tiles;  // u32 [n_tiles, 3]: shaders::ExpertTile
  graph::Tensor slots;  // u32 [n_slots]
  ExpertTiling tiling;
};

/// What the experts of a layer are multiplied with; one without rows is none.
using ExpertMatrices = std::vector<const PackedMatrix*>;

/// For more than a decode pass has columns. Where every matrix has a product of cooperative
/// matrices, a tile has room for half more than an expert's share of the slots: weights that are
/// read once for most experts are worth a few idle columns. Else it is that of matmul.
[[nodiscard]] ExpertTiling pick_expert_tiling(const graph::Graph& graph,
                                              const ExpertMatrices& matrices,
                                              uint64_t slots_per_expert);

/// y[slot] = W[expert of slot] x[row of slot]. w: [n_experts * expert_rows, n_cols], expert_rows a
/// multiple of 64. y: f32 [n_slots, expert_rows]; of a gated matrix gelu_tanh(gate) * up, [n_slots,
/// expert_rows / 2] in either form. x has a row for every slot, or for every column, whose slots
/// follow one another.
void add_expert_product(graph::Graph& graph, const PackedMatrix& w, uint64_t expert_rows,
                        const graph::Tensor& x, const ExpertTiles& tiles, const ActivationRows& y,
                        const std::string& label);

/// One node for each shard, all in the way that the graph's policy chooses; aborts where the
/// operands do not fit the matrix.
void add_panel_product(graph::Graph& graph, const graph::KernelDesc& kernel, const PackedMatrix& w,
                       const graph::Tensor& x, const ActivationRows& y, const std::string& label,
                       const PanelWays& ways, float softcap);

}  // namespace kimberlite::kernels
