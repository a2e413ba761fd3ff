#include "kernels/embed.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "kernels/coded_types.hpp"
#include "shaders/embed.h"

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
                               BindingDesc{"scales", Access::read, true}, BindingDesc{"columns"},
                               BindingDesc{"y", Access::write}};

#define KL_EMBED_KERNEL(name, layout)                                      \
  constexpr std::array name##Variants{Variant{"gather", "embed_" layout}}; \
  constexpr KernelDesc name {                                              \
    "embed_" layout, kBindings, sizeof(shaders::EmbedPush), name##Variants \
  }

KL_EMBED_KERNEL(kEmbedF32, "f32");
KL_EMBED_KERNEL(kEmbedF16, "f16");
KL_EMBED_KERNEL(kEmbedBf16, "bf16");
KL_EMBED_KERNEL(kEmbedQ8_0, "q8_0");
KL_EMBED_KERNEL(kEmbedQ8_0Plain, "q8_0_plain");
KL_EMBED_KERNEL(kEmbedQ4_0, "q4_0");
KL_EMBED_KERNEL(kEmbedQ4_0Pairs, "q4_0_pairs");
KL_EMBED_KERNEL(kEmbedQ4_K, "q4_k");
KL_EMBED_KERNEL(kEmbedQ4_KPairs, "q4_k_pairs");
KL_EMBED_KERNEL(kEmbedQ6_K, "q6_k");
#undef KL_EMBED_KERNEL

constexpr std::array kCodedVariants{Variant{"gather", "embed_coded"}};
struct CodedKernel {
  GgmlType type;
  KernelDesc kernel;
};
#define KL_CODED_KERNEL(type) \
  CodedKernel{GgmlType::type, \
              {"embed_" #type, kBindings, sizeof(shaders::EmbedPush), kCodedVariants}},
constexpr std::array kCodedKernels{KL_CODED_TYPES(KL_CODED_KERNEL)};
#undef KL_CODED_KERNEL
constexpr KernelDesc kEmbedQ6_KCoded{"embed_q6_k_coded", kBindings, sizeof(shaders::EmbedPush),
                                     kCodedVariants};

}  // namespace

const KernelDesc& embed_kernel(GgmlType type, LinearClass linear_class) {
  const bool pairs = linear_class == LinearClass::int8_swar;
  switch (type) {
    case GgmlType::f32:
      return kEmbedF32;
    case GgmlType::f16:
      return kEmbedF16;
    case GgmlType::bf16:
      return kEmbedBf16;
    case GgmlType::q8_0:
      return linear_class == LinearClass::int8_dot ? kEmbedQ8_0Plain : kEmbedQ8_0;
    case GgmlType::q4_0:
      return pairs ? kEmbedQ4_0Pairs : kEmbedQ4_0;
    case GgmlType::q4_k:
      return pairs ? kEmbedQ4_KPairs : kEmbedQ4_K;
    case GgmlType::q6_k:
      return linear_class == LinearClass::int8_dot ? kEmbedQ6_KCoded : kEmbedQ6_K;
    default:
      break;
  }
  const auto* coded = std::ranges::find(kCodedKernels, type, &CodedKernel::type);
  KL_CHECK(coded != kCodedKernels.end(), "a type that kernels cannot read");
  return coded->kernel;
}

void add_embed(graph::Graph& graph, const PackedMatrix& table, const Tensor& columns,
               const Tensor& y, float scale, const std::string& label) {
  KL_CHECK(columns.dtype == DType::u32 && columns.shape.rank() == 2 && columns.shape[1] == 4,
           "columns are u32 [n, 4]");
  const uint64_t n = columns.shape[0];
  KL_CHECK(y.dtype == DType::f32 && y.shape == (Shape{n, table.n_cols}), "y is f32 [n, width]");
  const KernelDesc& kernel = embed_kernel(table.type, table.linear_class);
  const uint64_t n_blocks = div_up<uint64_t>(table.n_cols, 32);
  for (const Shard& shard : table.shards) {
    graph::Node node;
    node.kernel = &kernel;
    node.variant = &graph.pick(kernel);
    node.label = label;
    node.tensors = {shard.codes, shard.scales.valid() ? shard.scales : shard.codes, columns, y};
    const uint32_t workgroup = std::max(32u, graph.caps().subgroup_size);
    node.constants = {workgroup, find_coded_format(table.type, table.linear_class).value_or(0)};
    node.set_push(shaders::EmbedPush{
        static_cast<uint32_t>(table.n_steps), static_cast<uint32_t>(table.n_cols),
        static_cast<uint32_t>(table.n_rows), static_cast<uint32_t>(shard.first_row),
        static_cast<uint32_t>(shard.n_rows), scale * table.scale});
    node.grid = {static_cast<uint32_t>(div_up<uint64_t>(n_blocks, workgroup)),
                 static_cast<uint32_t>(n), 1};
    node.bytes_touched = n * (table.n_bytes() / table.n_rows + table.n_cols * sizeof(float));
    graph.add(std::move(node));
  }
}

}  // namespace kimberlite::kernels
