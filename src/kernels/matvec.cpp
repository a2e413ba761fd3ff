#include "kernels/matvec.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
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

constexpr std::array kBindings{
    BindingDesc{"codes", Access::read, true}, BindingDesc{"scales", Access::read, true},
    BindingDesc{"x", Access::read, true}, BindingDesc{"y", Access::write}};

bool has_split(const vk::Caps& caps) { return !caps.is_cpu; }

// split: a workgroup is one panel, K split over its lanes, one sum through shared memory (GPUs).
// panel: nothing but subgroups, any number of panels in a workgroup.
#define KL_MATVEC_KERNEL(name, type)                                                        \
  constexpr std::array name##Variants{Variant{"split", "matvec_" type "_split", has_split}, \
                                      Variant{"panel", "matvec_" type}};                    \
  constexpr KernelDesc name {                                                               \
    "matvec_" type, kBindings, sizeof(shaders::MatvecPush), name##Variants                  \
  }

KL_MATVEC_KERNEL(kMatvecF32, "f32");
KL_MATVEC_KERNEL(kMatvecF16, "f16");
KL_MATVEC_KERNEL(kMatvecBf16, "bf16");
KL_MATVEC_KERNEL(kMatvecQ8_0, "q8_0");
KL_MATVEC_KERNEL(kMatvecQ4_0, "q4_0");
KL_MATVEC_KERNEL(kMatvecQ4_K, "q4_k");
KL_MATVEC_KERNEL(kMatvecQ6_K, "q6_k");
#undef KL_MATVEC_KERNEL

/// Specialisation constants of panel.glsl, in the order of their ids.
struct PanelShape {
  uint32_t workgroup = 0;  // invocations
  uint32_t lanes = 8;
  uint32_t columns = 1;
  uint32_t splits = 1;
  bool spread = false;
  bool mask_only = false;
  bool tail = false;

  [[nodiscard]] uint32_t panels_per_workgroup() const { return workgroup / (lanes * splits); }
  [[nodiscard]] std::vector<uint32_t> constants() const {
    return {workgroup, lanes, columns, splits, spread, mask_only, tail};
  }
};

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

PanelShape pick_shape(const Variant& variant, const vk::Caps& caps, const PackedMatrix& w,
                      uint64_t n_panels, uint64_t n_columns) {
  PanelShape shape;
  shape.columns = static_cast<uint32_t>(n_columns);
  shape.spread = caps.wide_load == vk::WideLoad::texel && caps.subgroup_size >= 8;
  shape.mask_only = caps.is_cpu;
  shape.tail = w.n_cols % 32 != 0;
  if (variant.name == "split") {
    shape.lanes = caps.subgroup_size == 64 ? 64 : 32;
    shape.splits = pick_splits(w.n_steps, std::min(256u, caps.max_workgroup_size) / shape.lanes);
    shape.workgroup = shape.lanes * shape.splits;
    return shape;
  }
  // 32 accumulators a lane are what the CPU drivers' compilers keep out of trouble.
  shape.lanes = n_columns > 4 ? 16 : 8;
  if (!caps.is_cpu) shape.lanes = std::max(shape.lanes, std::min(caps.subgroup_size, 64u));
  // A few panels a workgroup, but enough workgroups to keep every thread of the driver busy.
  const uint32_t smallest = std::max(1u, caps.subgroup_size / shape.lanes);
  const uint64_t wanted = std::clamp<uint64_t>(n_panels / 16, 1, 4);
  const auto panels = static_cast<uint32_t>(align_up<uint64_t>(wanted, smallest));
  shape.workgroup = shape.lanes * panels;
  return shape;
}

void check_operands(const PackedMatrix& w, const Tensor& x, const Tensor& y) {
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2, "x is f32 [n, n_cols]");
  KL_CHECK(x.shape[1] == align_up<uint64_t>(w.n_cols, 4), "x of another width than the matrix");
  KL_CHECK(y.dtype == DType::f32 && y.shape == (Shape{x.shape[0], w.n_rows}),
           "y is f32 [n, n_rows]");
}

}  // namespace

const KernelDesc& matvec_kernel(GgmlType type, LinearClass linear_class) {
  KL_CHECK(linear_class == LinearClass::f32, "a class without a kernel");
  switch (type) {
    case GgmlType::f32:
      return kMatvecF32;
    case GgmlType::f16:
      return kMatvecF16;
    case GgmlType::bf16:
      return kMatvecBf16;
    case GgmlType::q8_0:
      return kMatvecQ8_0;
    case GgmlType::q4_0:
      return kMatvecQ4_0;
    case GgmlType::q4_k:
      return kMatvecQ4_K;
    case GgmlType::q6_k:
      return kMatvecQ6_K;
    default:
      KL_CHECK(false, "a type that kernels cannot read");
      return kMatvecF32;
  }
}

void add_matvec(graph::Graph& graph, const PackedMatrix& w, const Tensor& x, const Tensor& y,
                const std::string& label, const MatvecEpilogue& epilogue) {
  check_operands(w, x, y);
  KL_CHECK(x.shape[0] >= 1 && x.shape[0] <= kMaxColumns, "1 to 8 columns");
  const KernelDesc& kernel = matvec_kernel(w.type, w.linear_class);
  for (const Shard& shard : w.shards) {
    const uint64_t n_panels = div_up(shard.n_rows, kPanelRows);
    graph::Node node;
    node.kernel = &kernel;
    node.variant = &graph.pick(kernel);
    const PanelShape shape = pick_shape(*node.variant, graph.caps(), w, n_panels, x.shape[0]);
    node.label = label;
    node.tensors = {shard.codes, shard.scales.valid() ? shard.scales : shard.codes, x, y};
    node.constants = shape.constants();
    node.set_push(shaders::MatvecPush{
        static_cast<uint32_t>(n_panels), static_cast<uint32_t>(w.n_steps),
        static_cast<uint32_t>(x.shape[1] / 4), static_cast<uint32_t>(shard.first_row),
        static_cast<uint32_t>(shard.n_rows), static_cast<uint32_t>(w.n_rows), epilogue.softcap});
    node.grid = {1, static_cast<uint32_t>(div_up<uint64_t>(n_panels, shape.panels_per_workgroup())),
                 1};
    node.bytes_touched = shard.codes.n_bytes + shard.scales.n_bytes + x.n_bytes +
                         shard.n_rows * x.shape[0] * sizeof(float);
    graph.add(std::move(node));
  }
}

}  // namespace kimberlite::kernels
