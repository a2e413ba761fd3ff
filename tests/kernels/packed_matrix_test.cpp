// Packing is a bijection, and its sizes are what the plan says. No device needed.
#include "kernels/packed_matrix.hpp"

#include "kernels/linear_support.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;

struct Packed {
  PackedLayout layout;
  std::vector<std::byte> codes;
  std::vector<std::byte> scales;
};

Packed pack_all(GgmlType type, LinearClass linear_class, uint64_t n_rows, uint64_t n_cols,
                const std::vector<std::byte>& rows) {
  Packed packed{plan_packed(type, n_rows, n_cols, vk::Caps{}, linear_class), {}, {}};
  KL_CHECK(packed.layout.shards.size() == 1, "a small matrix");
  packed.codes.assign(packed.layout.shards[0].codes_bytes, std::byte{0xee});
  packed.scales.assign(packed.layout.shards[0].scales_bytes, std::byte{0xee});
  pack_rows(packed.layout, n_rows, rows, packed.codes, packed.scales);
  return packed;
}

/// Every byte drawn: scales may be NaN, infinite or negative zero.
std::vector<std::byte> random_bytes(uint64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<std::byte> bytes(n);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
  return bytes;
}

/// Bytes that a file may have: every bit pattern but for TQ1_0, which has bytes that are no number
/// of five digits; they are not kept.
std::vector<std::byte> file_bytes(GgmlType type, uint64_t n_elements, uint32_t seed) {
  auto bytes = random_bytes(*formats::row_bytes(type, n_elements), seed);
  if (type != GgmlType::tq1_0) return bytes;
  std::mt19937 engine(seed);
  std::vector<float> values(n_elements);
  for (float& value : values) value = static_cast<float>(engine() % 3) - 1.0f;
  formats::quantize_row(type, values.data(), bytes.data(), n_elements);
  return bytes;
}

TEST(PackedMatrix, UnpacksToTheSameBytes) {
  for (const auto& [type, linear_class] : matrix_kinds()) {
    for (const uint64_t n_rows : {1, 64, 137}) {
      SCOPED_TRACE(::testing::Message() << formats::traits(type).name << " rows " << n_rows);
      const uint64_t n_cols = formats::traits(type).block_elems * 3ull;
      const auto rows = file_bytes(type, n_rows * n_cols, 1);
      const Packed packed = pack_all(type, linear_class, n_rows, n_cols, rows);
      std::vector<std::byte> back(rows.size());
      unpack_rows(packed.layout, n_rows, packed.codes, packed.scales, back);
      EXPECT_EQ(back, rows);
    }
  }
}

TEST(PackedMatrix, TakesEveryTypeButCodebooks) {
  for (const formats::GgmlTraits& traits : formats::ggml_types()) {
    EXPECT_EQ(can_pack(traits.type), formats::can_dequantize(traits.type)) << traits.name;
  }
  EXPECT_EQ(packed_types().size(), 21u);
}

TEST(PackedMatrix, PadsFloatsOfAnyWidth) {
  for (const uint64_t n_cols : {1, 31, 33, 70}) {
    const auto rows = random_bytes(3 * n_cols * 2, 2);
    const Packed packed = pack_all(GgmlType::f16, LinearClass::f32, 3, n_cols, rows);
    std::vector<std::byte> back(rows.size());
    unpack_rows(packed.layout, 3, packed.codes, packed.scales, back);
    EXPECT_EQ(back, rows);
    uint64_t n_nonzero = 0;
    for (const std::byte byte : packed.codes) n_nonzero += byte != std::byte{0};
    EXPECT_LE(n_nonzero, rows.size()) << "padding is zero";
  }
}

TEST(PackedMatrix, TakesNoMoreRoomThanTheFile) {
  for (const auto& [type, linear_class] : matrix_kinds()) {
    const PackedLayout layout = plan_packed(type, 256, 3840, vk::Caps{}, linear_class);
    // TQ1_0 is kept as TQ2_0: two bits for a digit of 1.6.
    const GgmlType as = type == GgmlType::tq1_0 ? GgmlType::tq2_0 : type;
    EXPECT_EQ(layout.shards[0].codes_bytes + layout.shards[0].scales_bytes,
              256 * *formats::row_bytes(as, 3840))
        << formats::traits(type).name;
  }
}

TEST(PackedMatrix, ShardsFitTheBindingAndCoverEveryRow) {
  vk::Caps caps;
  caps.max_storage_range_bytes = 128ull << 20;
  const PackedLayout layout = plan_packed(GgmlType::f32, 262144, 3840, caps);
  uint64_t next_row = 0;
  for (const ShardLayout& shard : layout.shards) {
    EXPECT_EQ(shard.first_row, next_row);
    EXPECT_LE(shard.codes_bytes, caps.max_wide_bytes());
    next_row += shard.n_rows;
  }
  EXPECT_EQ(next_row, 262144u);
  EXPECT_GE(layout.shards.size(), 30u);
}

TEST(PackedMatrix, ClassesFollowTheDevice) {
  vk::Caps cpu;
  cpu.is_cpu = true;
  cpu.subgroup_size = 8;
  cpu.wide_load = vk::WideLoad::texel;
  const auto pick = [](GgmlType type, const vk::Caps& caps, bool precise) {
    return pick_linear_class(type, 3840, 3840, caps, precise);
  };
  EXPECT_EQ(pick(GgmlType::q4_0, cpu, false), LinearClass::int8_swar);
  EXPECT_EQ(pick(GgmlType::q4_0, cpu, true), LinearClass::f32);
  EXPECT_EQ(pick(GgmlType::q6_k, cpu, false), LinearClass::f32);
  EXPECT_EQ(pick(GgmlType::q5_k, cpu, false), LinearClass::f32);
  vk::Caps gpu;
  EXPECT_EQ(pick(GgmlType::q4_0, gpu, false), LinearClass::f32);
  gpu.has_int8_dot = true;
  EXPECT_EQ(pick(GgmlType::q8_0, gpu, false), LinearClass::int8_dot);
  EXPECT_EQ(pick(GgmlType::q5_k, gpu, false), LinearClass::int8_dot);
  EXPECT_EQ(pick(GgmlType::q5_k, gpu, true), LinearClass::f32);
  EXPECT_EQ(pick(GgmlType::bf16, gpu, false), LinearClass::f32);
}

}  // namespace
}  // namespace kimberlite::kernels
