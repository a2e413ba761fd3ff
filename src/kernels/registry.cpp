#include "kernels/registry.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/add_rows.hpp"
#include "kernels/attention.hpp"
#include "kernels/clip.hpp"
#include "kernels/cluster_logits.hpp"
#include "kernels/coded_types.hpp"
#include "kernels/conv2d.hpp"
#include "kernels/embed.hpp"
#include "kernels/expert_seam.hpp"
#include "kernels/experts.hpp"
#include "kernels/geglu.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/light_conv.hpp"
#include "kernels/local_attention.hpp"
#include "kernels/mac_rate.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/patch_pool.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope_2d.hpp"
#include "kernels/rope_kv.hpp"
#include "kernels/sample.hpp"
#include "kernels/silu.hpp"
#include "kernels/soft_rows.hpp"
#include "kernels/tower_attention.hpp"

namespace kimberlite::kernels {

using formats::GgmlType;
using graph::KernelDesc;

namespace {

#define KL_FLOAT_KIND(type) MatrixKind{GgmlType::type, LinearClass::f32},
#define KL_DOT_KIND(type) MatrixKind{GgmlType::type, LinearClass::int8_dot},
// clang-format off
constexpr std::array kMatrixKinds{
    MatrixKind{GgmlType::f32, LinearClass::f32},
    MatrixKind{GgmlType::f16, LinearClass::f32},
    MatrixKind{GgmlType::bf16, LinearClass::f32},
    MatrixKind{GgmlType::q8_0, LinearClass::f32},
    MatrixKind{GgmlType::q4_0, LinearClass::f32},
    MatrixKind{GgmlType::q4_k, LinearClass::f32},
    MatrixKind{GgmlType::q6_k, LinearClass::f32},
    KL_CODED_TYPES(KL_FLOAT_KIND)
    MatrixKind{GgmlType::q8_0, LinearClass::int8_dot},
    MatrixKind{GgmlType::q4_0, LinearClass::int8_dot},
    MatrixKind{GgmlType::q4_k, LinearClass::int8_dot},
    MatrixKind{GgmlType::q6_k, LinearClass::int8_dot},
    KL_CODED_TYPES(KL_DOT_KIND)
    MatrixKind{GgmlType::q4_0, LinearClass::int8_swar},
    MatrixKind{GgmlType::q4_k, LinearClass::int8_swar},
};
// clang-format on
#undef KL_FLOAT_KIND
#undef KL_DOT_KIND

std::vector<const KernelDesc*> list_kernels() {
  std::vector<const KernelDesc*> all{&kRmsNorm,
                                     &kResidualNorm,
                                     &kResidualAdd,
                                     &kResidualPlain,
                                     &kExpertInputs,
                                     &kExpertSum,
                                     &kLayerNorm,
                                     &kGeglu,
                                     &kRopeKv,
                                     &kRopeQ,
                                     &kAttention,
                                     &kAttentionMerged,
                                     &kAttentionSplit,
                                     &kAttentionMerge,
                                     &kAttentionPrefill,
                                     &kRopeKvTable,
                                     &kAttentionTable,
                                     &kAttentionMergedTable,
                                     &kAttentionSplitTable,
                                     &kAttentionPrefillTable};
  for (const MatrixKind& kind : kMatrixKinds) {
    all.push_back(&matvec_kernel(kind.type, kind.linear_class));
    all.push_back(&matmul_kernel(kind.type, kind.linear_class));
    // Classes that read the same layout share a gather.
    const KernelDesc* embed = &embed_kernel(kind.type, kind.linear_class);
    if (std::find(all.begin(), all.end(), embed) == all.end()) all.push_back(embed);
  }
  all.insert(all.end(), {&kExpertRoute, &kExpertTiles, &kExpertSeam, &kClusterLogits, &kSoftRows,
                         &kClip, &kAddRows, &kRope2d, &kTowerAttention, &kPatchPool});
  all.insert(all.end(), {&kConv2d, &kSilu, &kLocalAttention, &kLightConv});
  all.push_back(&kQuantAct);
  const auto sampling = sample_kernels();
  all.insert(all.end(), sampling.begin(), sampling.end());
  all.insert(all.end(), {&kMacRate, &kMacRateDot, &kMacRatePairs});
  return all;
}

}  // namespace

std::span<const MatrixKind> matrix_kinds() { return kMatrixKinds; }

std::span<const KernelDesc* const> all_kernels() {
  static const std::vector<const KernelDesc*> all = list_kernels();
  return all;
}

}  // namespace kimberlite::kernels
