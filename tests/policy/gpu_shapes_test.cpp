// What products and attention are cut into on the recorded GPUs, for the shapes of the 12B: a lane
// of AMD or NVIDIA has 256 registers, one of Intel 64 with 16 lanes to a subgroup, since Xe2 128.
#include <gtest/gtest.h>

#include "kernels/attention.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/panel_product.hpp"
#include "plan/devices.hpp"
#include "vk/plan.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;

vk::Caps caps_of(const char* device) {
  const auto plan = vk::plan_device(vk::load_device(device));
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  return plan.ok() ? plan->caps : vk::Caps{};
}

struct Product {
  const char* device;
  GgmlType type;
  uint32_t columns;
  std::string_view variant;
  uint32_t lanes;
  uint32_t splits;
  uint32_t subgroup_size;  // 0: the device's
};

constexpr Product kProducts[] = {
    // Lanes as in a subgroup, so that one split has it whole; two rows to a lane.
    {"rtx_4070_laptop", GgmlType::q4_0, 1, "split_dot", 32, 8, 0},
    {"rtx_4070_laptop", GgmlType::q6_k, 8, "split_dot", 32, 8, 0},
    {"h100", GgmlType::q4_0, 8, "split_dot", 32, 8, 0},
    {"rx_7800_xt_radv", GgmlType::q4_0, 1, "split_dot", 32, 8, 0},
    {"rx_7800_xt_radv", GgmlType::q6_k, 8, "split_dot", 32, 8, 0},
    {"radeon_780m_radv", GgmlType::q4_0, 8, "split_dot", 32, 8, 0},
    {"vega10_radv", GgmlType::q4_0, 1, "split", 64, 4, 0},  // no dot products
    {"vega10_radv", GgmlType::q6_k, 8, "split", 64, 4, 0},
    // One row to a lane. Subgroups of 8 have twice the registers: where more than four columns meet
    // weights of many words, in float32 or of the types that share a module.
    {"uhd_620_anv", GgmlType::q4_0, 1, "split", 64, 4, 0},
    {"uhd_620_anv", GgmlType::q4_0, 4, "split", 64, 4, 0},
    {"uhd_620_anv", GgmlType::q4_0, 5, "split", 64, 4, 8},
    {"uhd_620_anv", GgmlType::q6_k, 8, "split", 64, 4, 8},
    {"iris_xe_windows", GgmlType::q4_0, 8, "split_dot", 64, 4, 0},
    {"arc_a770_anv", GgmlType::q4_0, 8, "split_dot", 64, 4, 0},
    {"arc_a770_anv", GgmlType::q5_k, 8, "split_dot", 64, 4, 8},
    // Twice the registers as it is, and no narrower subgroups.
    {"arc_140v_anv", GgmlType::q4_0, 1, "split_dot", 64, 4, 0},
    {"arc_140v_anv", GgmlType::q5_k, 8, "split_dot", 64, 4, 0},
};

TEST(GpuShapes, Products) {
  constexpr uint64_t kWidth = 3840;
  for (const Product& expected : kProducts) {
    const auto& [device, type, columns, variant_name, lanes, splits, subgroup_size] = expected;
    SCOPED_TRACE(::testing::Message()
                 << device << " " << formats::traits(type).name << " columns " << columns);
    const vk::Caps caps = caps_of(device);
    const LinearClass linear_class =
        pick_linear_class(type, kWidth, kWidth, caps, /*precise=*/false);
    const PackedLayout layout = plan_packed(type, kWidth, kWidth, caps, linear_class);
    const PackedMatrix w{type, linear_class, kWidth, kWidth, layout.n_steps, {}};
    const graph::Variant& variant = graph::pick_variant(matvec_kernel(type, linear_class), caps);
    const PanelShape shape = pick_panel_shape(variant, caps, w, kWidth / kPanelRows, columns);
    EXPECT_EQ(variant.name, variant_name);
    EXPECT_EQ(shape.lanes, lanes);
    EXPECT_EQ(shape.splits, splits);
    EXPECT_EQ(shape.subgroup_size, subgroup_size);
    // A panel fills a workgroup of the size that every device has, and its sums the shared memory.
    EXPECT_EQ(shape.workgroup, 256u);
    EXPECT_EQ(shape.panels_per_workgroup(), 1u);
    EXPECT_LE(splits * kPanelRows * columns * sizeof(float), caps.max_shared_bytes);
    // A subgroup has lanes of one split.
    EXPECT_EQ(lanes % (subgroup_size != 0 ? subgroup_size : caps.subgroup_size), 0u);
  }
}

struct Matrices {
  const char* device;
  vk::MatrixShape shape;  // m 0: prompts are products of decode
  uint32_t columns;
  uint32_t workgroup;
};

constexpr Matrices kMatrices[] = {
    {"rtx_4070_laptop", {16, 16, 32}, 32, 256},
    {"h100", {16, 16, 32}, 32, 256},
    {"rx_7800_xt_radv", {16, 16, 16}, 32, 256},
    {"radeon_780m_radv", {16, 16, 16}, 32, 256},
    // Matrix units of Intel work for its narrowest subgroups.
    {"arc_a770_anv", {8, 8, 32}, 8, 32},
    {"arc_140v_anv", {8, 16, 32}, 16, 64},
    {"vega10_radv", {}, 0, 0},
    {"uhd_620_anv", {}, 0, 0},
    {"iris_xe_windows", {}, 0, 0},
    {"lavapipe", {}, 0, 0},
    {"swiftshader", {}, 0, 0},
};

TEST(GpuShapes, Matrices) {
  constexpr uint64_t kWidth = 3840;
  for (const auto& [device, matrix, columns, workgroup] : kMatrices) {
    SCOPED_TRACE(device);
    const vk::Caps caps = caps_of(device);
    EXPECT_EQ(caps.int8_matrix.m, matrix.m);
    EXPECT_EQ(caps.int8_matrix.n, matrix.n);
    EXPECT_EQ(caps.int8_matrix.k, matrix.k);
    for (const GgmlType type : {GgmlType::q4_0, GgmlType::q8_0, GgmlType::q4_k}) {
      const auto linear_class = pick_linear_class(type, kWidth, kWidth, caps, /*precise=*/false);
      const graph::Variant& many = graph::pick_variant(matmul_kernel(type, linear_class), caps);
      const graph::Variant& few = graph::pick_variant(matvec_kernel(type, linear_class), caps);
      EXPECT_EQ(many.name == "split_matrix", matrix.m != 0) << many.name;
      if (many.name != "split_matrix") continue;
      EXPECT_EQ(caps.matrix_columns, columns);
      const PackedLayout layout = plan_packed(type, kWidth, kWidth, caps, linear_class);
      const PackedMatrix w{type, linear_class, kWidth, kWidth, layout.n_steps, {}};
      const PanelShape shape = pick_panel_shape(many, caps, w, kWidth / kPanelRows, columns);
      EXPECT_EQ(shape.workgroup, workgroup);
      EXPECT_EQ(shape.subgroup_size, shape.lanes);
      // The bits of decode: its parts of K.
      EXPECT_EQ(shape.splits, pick_panel_shape(few, caps, w, kWidth / kPanelRows, 1).splits);
    }
  }
}

struct Attention {
  const char* device;
  uint32_t head_dim;
  uint32_t tile_heads;
  uint32_t prefill_columns;
  uint32_t n_splits;
  uint32_t n_lanes;
  uint32_t n_keys;
  bool holds_queries;
};

/// 16 heads: of 256 over 8 heads of keys, two to each, in a window of 16 chunks, and of 512 over
/// one, over 64 chunks. Splits: four workgroups for each compute unit, but not more than chunks.
constexpr Attention kAttentions[] = {
    // Four queries to a key's load, held beside their sums.
    {"rtx_4070_laptop", 256, 2, 2, 16, 32, 4, true},
    {"rtx_4070_laptop", 512, 4, 1, 36, 32, 4, true},
    {"h100", 256, 2, 2, 16, 32, 4, true},
    {"h100", 512, 4, 1, 64, 32, 4, true},
    {"rx_7800_xt_radv", 256, 2, 2, 16, 32, 4, true},
    {"rx_7800_xt_radv", 512, 4, 1, 60, 32, 4, true},
    {"radeon_780m_radv", 256, 2, 2, 6, 32, 4, true},
    {"radeon_780m_radv", 512, 4, 1, 12, 32, 4, true},
    {"vega10_radv", 256, 2, 2, 16, 64, 4, true},
    {"vega10_radv", 512, 4, 1, 64, 64, 4, true},
    // One query is 16 or 32 of 64 registers with 16 lanes, 32 or 64 of 128 with 8.
    {"uhd_620_anv", 256, 1, 1, 2, 8, 2, false},
    {"uhd_620_anv", 512, 1, 1, 2, 8, 1, false},
    {"iris_xe_windows", 256, 1, 1, 2, 8, 2, false},
    {"iris_xe_windows", 512, 1, 1, 2, 8, 1, false},
    {"arc_a770_anv", 256, 1, 1, 8, 8, 2, false},
    {"arc_a770_anv", 512, 1, 1, 8, 8, 1, false},
    // 16 or 32 of 128 with 16, the least.
    {"arc_140v_anv", 256, 2, 1, 4, 16, 2, false},
    {"arc_140v_anv", 512, 1, 1, 2, 16, 2, false},
};

TEST(GpuShapes, Attention) {
  constexpr uint32_t kHeads = 16;
  for (const Attention& expected : kAttentions) {
    SCOPED_TRACE(::testing::Message() << expected.device << " head " << expected.head_dim);
    const vk::Caps caps = caps_of(expected.device);
    const bool is_full = expected.head_dim == 512;
    const KvCacheView cache{.n_kv_heads = is_full ? 1u : 8u,
                            .head_dim = expected.head_dim,
                            .n_rows = 4096,
                            .window = is_full ? 0u : 1024u};
    const AttentionTiling decode = pick_attention_tiling(caps, cache, kHeads, 1);
    const AttentionTiling prefill = pick_attention_tiling(caps, cache, kHeads, 64);
    EXPECT_EQ(decode.tile_columns, 1u);
    EXPECT_EQ(decode.n_splits, expected.n_splits);
    EXPECT_EQ(prefill.tile_columns, expected.prefill_columns);
    EXPECT_EQ(prefill.n_splits, 1u);
    for (const AttentionTiling& tiling : {decode, prefill}) {
      EXPECT_EQ(tiling.tile_heads, expected.tile_heads);
      EXPECT_EQ(tiling.n_lanes, expected.n_lanes);
      EXPECT_EQ(tiling.n_keys, expected.n_keys);
      EXPECT_EQ(tiling.holds_queries, expected.holds_queries);
      // A subgroup has the same registers however many lanes share them. A third is left for keys.
      const uint32_t n_words = caps.register_words * caps.subgroup_size / tiling.n_lanes;
      const uint32_t n_sums =
          tiling.tile_heads * tiling.tile_columns * expected.head_dim / tiling.n_lanes;
      EXPECT_LE(n_sums * (tiling.holds_queries ? 2 : 1), n_words * 2 / 3);
    }
  }
}

}  // namespace
}  // namespace kimberlite::kernels
