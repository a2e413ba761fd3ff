#include "kernels/panel_product.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "base/numeric.hpp"
#include "kernels/coded_types.hpp"
#include "kernels/quant_act.hpp"
#include "shaders/common/coded.h"
#include "shaders/matvec.h"

namespace kimberlite::kernels {

using formats::GgmlType;
using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::KernelDesc;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"codes", Access::read, true},
                               BindingDesc{"scales", Access::read, true},
                               BindingDesc{"x", Access::read, true},
                               BindingDesc{"y", Access::write},
                               BindingDesc{"tiles"},
                               BindingDesc{"slots"},
                               BindingDesc{"y_q", Access::write}};

bool has_split(const vk::Caps& caps) { return !caps.is_cpu; }
bool has_dot(const vk::Caps& caps) { return caps.has_int8_dot; }
bool has_split_dot(const vk::Caps& caps) { return has_split(caps) && has_dot(caps); }

/// Lanes of a part of K: a row for each where two, with eight columns, are more than registers
/// hold.
uint32_t split_lanes(const vk::Caps& caps) {
  return caps.register_words < 256 ? 64 : std::max(32u, caps.subgroup_size);
}
uint32_t max_splits(const vk::Caps& caps) {
  return std::min(256u, caps.max_workgroup_size) / split_lanes(caps);
}

/// What scales of a block of 32 there are: of it or of each half, with a minimum or without.
struct BlockFactors {
  uint32_t groups = 1;
  bool has_least = false;
};

BlockFactors find_block_factors(GgmlType type) {
  const auto format = find_coded_format(type, LinearClass::int8_dot);
  if (!format) return {1, type == GgmlType::q4_k};
  return {shaders::coded_has_small_groups(*format) ? 2u : 1u, shaders::coded_has_least(*format)};
}

/// Shared memory of one part of K: shaders/common/matrix_stage.glsl.
uint32_t matrix_stage_bytes(const vk::Caps& caps, GgmlType type) {
  const auto [groups, has_least] = find_block_factors(type);
  const uint32_t w_factors = has_least ? 2 * groups : groups;
  const uint32_t x_factors = has_least ? 1 + groups : 1;
  const bool has_head = type == GgmlType::q4_k || find_coded_format(type, LinearClass::int8_dot);
  const uint32_t block_bytes =
      64 * (48 + 4 * w_factors + (has_head ? 4 : 0)) + caps.matrix_columns * (48 + 4 * x_factors);
  return std::max(block_bytes, 64 * caps.int8_matrix.n * 4);
}

template <GgmlType kType>
bool has_split_matrix(const vk::Caps& caps) {
  const uint32_t stored = caps.int8_matrix.n * 128;  // gated_values
  return has_split_dot(caps) && caps.int8_matrix.m != 0 && caps.matrix_columns != 0 &&
         max_splits(caps) * matrix_stage_bytes(caps, kType) + stored <= caps.max_shared_bytes;
}

struct Kernels {
  KernelDesc matvec;
  KernelDesc matmul;
};

constexpr KernelDesc describe(std::string_view name, std::span<const Variant> variants) {
  return {name, kBindings, sizeof(shaders::MatvecPush), variants};
}

// split: a workgroup is one panel, K split over its lanes, one sum through shared memory (GPUs).
// panel: nothing but subgroups, any number of panels in a workgroup.
#define KL_FLOAT_VARIANTS(name, module)                                                  \
  constexpr std::array name##Any{Variant{"split", "matvec_" module "_split", has_split}, \
                                 Variant{"panel", "matvec_" module}};
#define KL_FLOAT_KERNELS(name, layout)                          \
  KL_FLOAT_VARIANTS(name, layout)                               \
  constexpr Kernels name{describe("matvec_" layout, name##Any), \
                         describe("matmul_" layout, name##Any)};
KL_FLOAT_KERNELS(kF32, "f32")
KL_FLOAT_KERNELS(kF16, "f16")
KL_FLOAT_KERNELS(kBf16, "bf16")
KL_FLOAT_KERNELS(kQ8_0, "q8_0")
KL_FLOAT_KERNELS(kQ4_0, "q4_0")
KL_FLOAT_KERNELS(kQ4_K, "q4_k")
KL_FLOAT_KERNELS(kQ6_K, "q6_k")
#undef KL_FLOAT_KERNELS

#define KL_DOT_VARIANTS(name, module)                                     \
  constexpr std::array name##Any{                                         \
      Variant{"split_dot", "matvec_" module "_split_dot", has_split_dot}, \
      Variant{"panel_dot", "matvec_" module "_panel_dot", has_dot},       \
      Variant{"panel", "matvec_" module}};
// kSplitMatrix: the products of split_dot, and its bits, by cooperative matrices.
#define KL_DOT_KERNELS(name, layout, type)                                                         \
  KL_DOT_VARIANTS(name, layout)                                                                    \
  constexpr std::array name##Many{Variant{kSplitMatrix, "matmul_" layout, has_split_matrix<type>}, \
                                  name##Any[0], name##Any[1], name##Any[2]};                       \
  constexpr Kernels name{describe("matvec_" layout, name##Any),                                    \
                         describe("matmul_" layout, name##Many)};
KL_DOT_KERNELS(kQ8_0Int8, "q8_0_int8", GgmlType::q8_0)
KL_DOT_KERNELS(kQ4_0Int8, "q4_0_int8", GgmlType::q4_0)
KL_DOT_KERNELS(kQ4_KInt8, "q4_k_int8", GgmlType::q4_k)
#undef KL_DOT_KERNELS

// Types of shaders/common/coded.h: kernels of their own names, the same modules.
KL_FLOAT_VARIANTS(kCoded, "coded")
KL_DOT_VARIANTS(kCodedInt8, "coded_int8")
#undef KL_FLOAT_VARIANTS
#undef KL_DOT_VARIANTS
template <GgmlType kType>
constexpr std::array kCodedInt8Many{
    Variant{kSplitMatrix, "matmul_coded_int8", has_split_matrix<kType>}, kCodedInt8Any[0],
    kCodedInt8Any[1], kCodedInt8Any[2]};
#define KL_CODED_INT8(type)                                               \
  Kernels {                                                               \
    describe("matvec_" #type "_int8", kCodedInt8Any),                     \
        describe("matmul_" #type "_int8", kCodedInt8Many<GgmlType::type>) \
  }
struct CodedKernels {
  GgmlType type;
  Kernels f32;
  Kernels int8_dot;
};
#define KL_CODED_KERNELS(type)                                                               \
  CodedKernels{GgmlType::type,                                                               \
               {describe("matvec_" #type, kCodedAny), describe("matmul_" #type, kCodedAny)}, \
               KL_CODED_INT8(type)},
constexpr std::array kCodedKernels{KL_CODED_TYPES(KL_CODED_KERNELS)};
constexpr Kernels kQ6_KInt8 = KL_CODED_INT8(q6_k);
#undef KL_CODED_KERNELS
#undef KL_CODED_INT8

#define KL_SWAR_KERNELS(name, layout)                                 \
  constexpr std::array name##Any{Variant{"panel", "matvec_" layout}}; \
  constexpr Kernels name{describe("matvec_" layout, name##Any),       \
                         describe("matmul_" layout, name##Any)};
KL_SWAR_KERNELS(kQ4_0Pairs, "q4_0_pairs")
KL_SWAR_KERNELS(kQ4_KPairs, "q4_k_pairs")
#undef KL_SWAR_KERNELS

const Kernels& float_kernels(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return kF32;
    case GgmlType::f16:
      return kF16;
    case GgmlType::bf16:
      return kBf16;
    case GgmlType::q8_0:
      return kQ8_0;
    case GgmlType::q4_0:
      return kQ4_0;
    case GgmlType::q4_k:
      return kQ4_K;
    case GgmlType::q6_k:
      return kQ6_K;
    default:
      KL_CHECK(false, "a type that kernels cannot read");
      return kF32;
  }
}

const Kernels& find_kernels(GgmlType type, LinearClass linear_class) {
  const bool dot = linear_class == LinearClass::int8_dot;
  const auto* coded = std::ranges::find(kCodedKernels, type, &CodedKernels::type);
  if (coded != kCodedKernels.end()) {
    KL_CHECK(linear_class != LinearClass::int8_swar, "a class that the type does not have");
    return dot ? coded->int8_dot : coded->f32;
  }
  if (linear_class == LinearClass::f32) return float_kernels(type);
  if (type == GgmlType::q4_0) return dot ? kQ4_0Int8 : kQ4_0Pairs;
  if (type == GgmlType::q4_k) return dot ? kQ4_KInt8 : kQ4_KPairs;
  if (type == GgmlType::q6_k && dot) return kQ6_KInt8;
  KL_CHECK(type == GgmlType::q8_0 && dot, "a class that the type does not have");
  return kQ8_0Int8;
}

/// Parts of K for `n_steps` steps: as many as a workgroup has room for, unless the last round would
/// leave more than a tenth of them idle. A function of shape and device alone, never of n.
uint32_t pick_splits(uint64_t n_steps, uint32_t max_splits) {
  uint32_t best = 1;
  double best_use = 0;
  for (uint32_t splits = max_splits; splits >= std::max(1u, max_splits / 2); --splits) {
    const uint64_t rounds = div_up<uint64_t>(n_steps, splits);
    const double use = static_cast<double>(n_steps) / static_cast<double>(rounds * splits);
    if (use > best_use + 0.1) {
      best = splits;
      best_use = use;
    }
  }
  return best;
}

void check_activations(const PackedMatrix& w, const Tensor& x) {
  KL_CHECK(x.shape.rank() == 2, "x is [n, n_cols]");
  if (w.linear_class == LinearClass::f32) {
    KL_CHECK(x.dtype == DType::f32, "this matrix takes float32 activations");
    KL_CHECK(x.shape[1] == align_up<uint64_t>(w.n_cols, 4), "x of another width than the matrix");
  } else {
    KL_CHECK(x.dtype == DType::u32, "this matrix takes activations of add_quant_act");
    KL_CHECK(x.shape[1] == quantized_width(w.linear_class, w.n_cols),
             "x of another width or class than the matrix");
  }
}

/// What all shards of a product have in common.
struct Product {
  const KernelDesc& kernel;
  const PackedMatrix& w;
  const Tensor& x;
  const ActivationRows& y;
  const std::string& label;
  PanelWay way;
  float softcap = 0;
  const ExpertTiles* experts = nullptr;
  uint64_t expert_rows = 0;
};

/// Of a row of y, where the product has `n_rows` rows.
uint64_t y_columns(const PackedMatrix& w, uint64_t n_rows) { return w.gated ? n_rows / 2 : n_rows; }

void check_y(const graph::Graph& graph, const PackedMatrix& w, const ActivationRows& y, uint64_t n,
             uint64_t n_rows) {
  KL_CHECK(!w.gated || n_rows % kPanelRows == 0, "gate and up of whole panels");
  KL_CHECK(w.gated || (y.f32.valid() && !y.rounded.valid()), "this product is not rounded");
  check_activation_rows(y, graph.caps(), n, y_columns(w, n_rows));
}

/// With everything but bytes_touched.
graph::Node make_node(const graph::Graph& graph, const Product& product, const Shard& shard) {
  const auto& [kernel, w, x, y, label, way, softcap, experts, expert_rows] = product;
  const auto n_columns = static_cast<uint32_t>(x.shape[0]);
  const uint64_t y_rows = experts != nullptr ? experts->slots.shape[0] : n_columns;
  const uint64_t shard_panels = div_up(shard.n_rows, kPanelRows);
  const uint64_t expert_panels = expert_rows / kPanelRows;
  const uint64_t y_width = y_columns(w, experts != nullptr ? expert_rows : w.n_rows);
  const uint64_t tile_panels = experts != nullptr ? expert_panels : shard_panels;
  graph::Node node;
  node.kernel = &kernel;
  node.variant = way.variant;
  PanelShape shape = pick_panel_shape(*way.variant, graph.caps(), w, tile_panels, way.tile_columns);
  shape.experts = experts != nullptr;
  shape.outputs = w.gated ? y.outputs() : 1;
  node.label = label;
  node.tensors = {shard.codes,
                  shard.scales.valid() ? shard.scales : shard.codes,
                  x,
                  y.y(),
                  experts != nullptr ? experts->tiles : x,
                  experts != nullptr ? experts->slots : x,
                  y.y_q()};
  node.subgroup_size = shape.subgroup_size;
  node.constants = shape.constants();
  node.set_push(shaders::MatvecPush{
      static_cast<uint32_t>(shard_panels), static_cast<uint32_t>(w.n_steps),
      static_cast<uint32_t>(x.shape[1] / 4), static_cast<uint32_t>(shard.first_row),
      static_cast<uint32_t>(shard.n_rows), static_cast<uint32_t>(y_width), n_columns, w.scale,
      softcap, static_cast<uint32_t>(expert_panels), static_cast<uint32_t>(y_rows / n_columns)});
  const uint32_t n_tiles = experts != nullptr ? static_cast<uint32_t>(experts->tiles.shape[0])
                                              : div_up(n_columns, way.tile_columns);
  const uint64_t n_groups = div_up<uint64_t>(tile_panels, shape.panels_per_workgroup());
  node.grid = {n_tiles, static_cast<uint32_t>(n_groups), 1};
  return node;
}

/// The best variant that takes tiles of this kind.
const Variant& pick_for_experts(const graph::Graph& graph, const KernelDesc& kernel,
                                bool by_matrices) {
  const auto usable = [&](const Variant& variant) {
    return graph.can_use(kernel, variant) && (variant.name == kSplitMatrix) == by_matrices;
  };
  const auto found = std::ranges::find_if(kernel.variants, usable);
  return found != kernel.variants.end() ? *found : graph.pick(kernel);
}

}  // namespace

const KernelDesc& find_matvec_kernel(GgmlType type, LinearClass linear_class) {
  return find_kernels(type, linear_class).matvec;
}
const KernelDesc& find_matmul_kernel(GgmlType type, LinearClass linear_class) {
  return find_kernels(type, linear_class).matmul;
}

std::vector<uint32_t> PanelShape::constants() const {
  std::vector<uint32_t> all{workgroup, lanes,  columns, splits, spread, mask_only,
                            tail,      format, experts, gated,  outputs};
  if (matrix.m != 0) {
    all.insert(all.end(), {matrix.m, matrix.n, matrix.k, groups, uint32_t{has_least}});
  }
  return all;
}

PanelShape pick_panel_shape(const Variant& variant, const vk::Caps& caps, const PackedMatrix& w,
                            uint64_t n_panels, uint32_t tile_columns) {
  PanelShape shape;
  shape.columns = tile_columns;
  shape.spread = caps.wide_load == vk::WideLoad::texel && caps.subgroup_size >= 8;
  shape.mask_only = caps.is_cpu;
  shape.tail = w.n_cols % 32 != 0;
  shape.format = find_coded_format(w.type, w.linear_class).value_or(0);
  shape.gated = w.gated;
  if (variant.name.starts_with("split")) {
    shape.lanes = split_lanes(caps);
    shape.splits = pick_splits(w.n_steps, max_splits(caps));
    if (variant.name == kSplitMatrix) {
      shape.matrix = caps.int8_matrix;
      const auto [groups, has_least] = find_block_factors(w.type);
      shape.groups = groups;
      shape.has_least = has_least;
      shape.lanes = shape.subgroup_size = caps.matrix_subgroup_size;
      shape.workgroup = shape.lanes * shape.splits;
      return shape;
    }
    shape.workgroup = shape.lanes * shape.splits;
    // Values of many words beside many columns: narrower subgroups have more registers for a lane.
    const bool many_words =
        w.linear_class == LinearClass::f32 || find_coded_format(w.type, w.linear_class);
    if (many_words && tile_columns > 4 && caps.register_words < 128) {
      shape.subgroup_size = caps.min_subgroup_size;
    }
    return shape;
  }
  // A lane has a row of gate and the same one of up.
  const uint32_t most_lanes = w.gated ? 32 : 64;
  // 32 accumulators a lane are what the CPU drivers' compilers keep out of trouble.
  shape.lanes = tile_columns > 4 ? 16 : 8;
  const bool swar = w.linear_class == LinearClass::int8_swar;
  const uint32_t limit = swar ? most_lanes / 2 : most_lanes;
  if (!caps.is_cpu) shape.lanes = std::max(shape.lanes, std::min(caps.subgroup_size, limit));
  // A few panels a workgroup, but enough workgroups to keep every thread of the driver busy.
  const uint32_t smallest = std::max(1u, caps.subgroup_size / shape.lanes);
  const uint64_t wanted = std::clamp<uint64_t>(n_panels / 16, 1, 4);
  const auto panels = static_cast<uint32_t>(align_up<uint64_t>(wanted, smallest));
  shape.workgroup = shape.lanes * panels;
  return shape;
}

void PanelWays::add(const Variant& variant, std::initializer_list<uint32_t> tile_columns) {
  for (const uint32_t columns : tile_columns) {
    const PanelWay way{&variant, columns};
    if (std::ranges::find(ways_, way) == ways_.end()) ways_.push_back(way);
  }
}

const PanelWay& PanelWays::choose(const graph::Graph& graph, const std::string& work) const {
  std::vector<std::string> names;
  for (const auto& [variant, columns] : ways_) {
    names.push_back(fmt::format("{}/{}", variant->name, columns));
  }
  return ways_[graph.choose(work, names)];
}

void add_panel_product(graph::Graph& graph, const KernelDesc& kernel, const PackedMatrix& w,
                       const Tensor& x, const ActivationRows& y, const std::string& label,
                       const PanelWays& ways, float softcap) {
  check_activations(w, x);
  const uint64_t n_columns = x.shape[0];
  check_y(graph, w, y, n_columns, w.n_rows);
  // What is fastest for some columns is so for more of them.
  constexpr uint64_t kMany = 64;
  std::string work;
  if (ways.all().size() > 1) {
    work = fmt::format("{} {}x{}{} n{}", kernel.name, w.n_rows, w.n_cols, w.gated ? " gated" : "",
                       std::min(n_columns, kMany));
  }
  const PanelWay& way = work.empty() ? ways.all().front() : ways.choose(graph, work);
  for (const Shard& shard : w.shards) {
    graph::Node node = make_node(graph, {kernel, w, x, y, label, way, softcap}, shard);
    node.work = work;
    node.bytes_touched = shard.codes.n_bytes + shard.scales.n_bytes + x.n_bytes +
                         y.n_bytes() * shard.n_rows / w.n_rows;
    graph.add(std::move(node));
  }
}

ExpertTiling pick_expert_tiling(const graph::Graph& graph, const ExpertMatrices& matrices,
                                uint64_t slots_per_expert) {
  const auto takes_matrices = [&](const PackedMatrix* w) {
    return graph.pick(find_matmul_kernel(w->type, w->linear_class)).name == kSplitMatrix;
  };
  const auto exists = [](const PackedMatrix* w) { return w->n_rows != 0; };
  auto existing = matrices | std::views::filter(exists);
  const vk::Caps& caps = graph.caps();
  if (existing.empty() || !std::ranges::all_of(existing, takes_matrices)) {
    return {pick_prefill_columns(caps), false};
  }
  const uint64_t wanted =
      align_up<uint64_t>(slots_per_expert + slots_per_expert / 2, caps.int8_matrix.n);
  return {static_cast<uint32_t>(std::min<uint64_t>(wanted, caps.matrix_columns)), true};
}

void add_expert_product(graph::Graph& graph, const PackedMatrix& w, uint64_t expert_rows,
                        const Tensor& x, const ExpertTiles& tiles, const ActivationRows& y,
                        const std::string& label) {
  check_activations(w, x);
  const uint64_t n_slots = tiles.slots.shape[0];
  KL_CHECK(n_slots % x.shape[0] == 0, "rows of x with as many slots each");
  KL_CHECK(expert_rows % kPanelRows == 0 && w.n_rows % expert_rows == 0, "experts of whole panels");
  check_y(graph, w, y, n_slots, expert_rows);
  KL_CHECK(tiles.slots.dtype == DType::u32 && tiles.slots.shape.rank() == 1, "slots are u32 [n]");
  KL_CHECK(tiles.tiles.dtype == DType::u32 && tiles.tiles.shape.rank() == 2,
           "tiles are u32 [n, 3]");
  const auto& [columns, by_matrices] = tiles.tiling;
  const KernelDesc& kernel = columns == 1 ? find_matvec_kernel(w.type, w.linear_class)
                                          : find_matmul_kernel(w.type, w.linear_class);
  const PanelWay way{&pick_for_experts(graph, kernel, by_matrices), columns};
  for (const Shard& shard : w.shards) {
    graph::Node node =
        make_node(graph, {kernel, w, x, y, label, way, 0, &tiles, expert_rows}, shard);
    // A tile reads one expert, of whichever shard.
    const uint64_t shard_bytes = shard.codes.n_bytes + shard.scales.n_bytes;
    const uint64_t n_read = std::min(tiles.tiles.shape[0] * expert_rows, w.n_rows);
    node.bytes_touched = shard_bytes * n_read / w.n_rows;
    if (&shard == &w.shards.front()) node.bytes_touched += x.n_bytes + y.n_bytes();
    graph.add(std::move(node));
  }
}

}  // namespace kimberlite::kernels
