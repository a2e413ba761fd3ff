// PackedMatrix: a weight matrix as the kernels read it. GGUF blocks are repacked, without loss,
// into panels of 64 rows with 16-byte units of codes and separate scales.
//
//   codes   unit [panel][step][u][row % 64]        step: 32 elements, 256 for the K-quants
//   scales  f16 or word [panel][step][place(row)]  place = (row % 8) * 8 + row / 8 within the panel
//
//   type      step  units a row and step                                scales a step
//   f32       32    8: elements 4u..4u+3                                none
//   f16 bf16  32    4: elements 8u..8u+7                                none
//   q8_0      32    2: bytes, code + 128 (class int8_dot: the code)     64 f16
//   q4_0      32    1: low nibbles elements 0..15, high 16..31          64 f16
//   q4_k      256   8: one for each 32 elements, as q4_0                4 x 64 words
//   q6_k      256   4 x 3 (panel_product_q6_k.glsl)                     4 x 64 words, 64 f16
//   others    32 .. 256   shaders/common/coded.h, coded.glsl            high bits, then scales
//
// Class int8_dot has q6_k among the others. Class int8_swar replaces the units of q4_0 and of each
// block of q4_k: rows 16p + l and 16p + 8 + l are the low and high 16 bits of the words of unit
// [p][h][l]; nibble i of word j is element 16h + 4j + i.
//
// Rows are padded to 64, elements to a whole step, with zero scales (zero values where a type has
// none). Steps, panels and therefore shards are whole units.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "formats/ggml_type.hpp"
#include "graph/tensor.hpp"
#include "vk/caps.hpp"

namespace kimberlite::kernels {

inline constexpr uint64_t kPanelRows = 64;
inline constexpr uint64_t kGatedRows = kPanelRows / 2;

/// The arithmetic of a product; fixed for a matrix on a device, because the layout follows it.
enum class LinearClass : uint8_t {
  f32,        // float32 activations and products
  int8_dot,   // int8 activations per block of 32, 4x8 bit dot products
  int8_swar,  // int8 activations, two rows in one 32-bit multiplication: CPU drivers
};

/// "f32", "int8_dot", "int8_swar".
[[nodiscard]] const char* linear_class_text(LinearClass linear_class);

/// Whether matrices of this type can be packed: every type of weights but the codebooks iq1, iq2
/// and iq3.
[[nodiscard]] bool can_pack(formats::GgmlType type);

/// FORMAT of shaders/common/coded.h for the types that share its modules: Q6_K only in class
/// int8_dot, the others in each class that they have.
[[nodiscard]] std::optional<uint32_t> find_coded_format(formats::GgmlType type,
                                                        LinearClass linear_class);

/// Policy. `precise`: activations stay float32.
[[nodiscard]] LinearClass pick_linear_class(formats::GgmlType type, uint64_t n_rows,
                                            uint64_t n_cols, const vk::Caps& caps, bool precise);

struct ShardLayout {
  uint64_t first_row = 0;
  uint64_t n_rows = 0;  // a multiple of 64 but for the last shard
  uint64_t codes_bytes = 0;
  uint64_t scales_bytes = 0;  // 0 where the type has none
};

struct PackedLayout {
  formats::GgmlType type{};
  LinearClass linear_class{};
  uint64_t n_rows = 0;
  uint64_t n_cols = 0;
  uint64_t n_steps = 0;
  uint64_t codes_panel_bytes = 0;
  uint64_t scales_panel_bytes = 0;
  std::vector<ShardLayout> shards;

  /// What to allocate, in the order that make_packed_matrix takes: the codes, then the scales if
  /// there are any, of each shard.
  [[nodiscard]] std::vector<uint64_t> range_bytes() const;
};

/// Splits by rows so that no binding exceeds caps.max_wide_bytes(). Pure. Aborts where can_pack is
/// false, the class does not fit the type, or a panel alone exceeds the limit.
[[nodiscard]] PackedLayout plan_packed(formats::GgmlType type, uint64_t n_rows, uint64_t n_cols,
                                       const vk::Caps& caps,
                                       LinearClass linear_class = LinearClass::f32);

/// Packs `n_rows` consecutive rows, starting at a panel, from GGUF bytes. codes and scales are the
/// destination from that panel on: exactly div_up(n_rows, 64) panels. Thread-safe: calls for
/// different panels share nothing.
void pack_rows(const PackedLayout& layout, uint64_t n_rows, std::span<const std::byte> rows,
               std::span<std::byte> codes, std::span<std::byte> scales);

/// The reverse of pack_rows, byte for byte.
void unpack_rows(const PackedLayout& layout, uint64_t n_rows, std::span<const std::byte> codes,
                 std::span<const std::byte> scales, std::span<std::byte> rows);

struct Shard {
  uint64_t first_row = 0;
  uint64_t n_rows = 0;
  graph::Tensor codes;   // wide
  graph::Tensor scales;  // wide; not valid() where the type has none
};

struct PackedMatrix {
  formats::GgmlType type{};
  LinearClass linear_class{};
  uint64_t n_rows = 0;
  uint64_t n_cols = 0;
  uint64_t n_steps = 0;
  std::vector<Shard> shards;
  float scale = 1.0f;  // of every weight, besides those of its blocks
  bool gated = false;  // rows of gate and up in turn: kGatedRows of each in a panel

  [[nodiscard]] uint64_t n_bytes() const;
};

/// `ranges` as allocated for layout.range_bytes(), in that order.
[[nodiscard]] PackedMatrix make_packed_matrix(const PackedLayout& layout,
                                              std::span<const vk::BufferRange> ranges);

}  // namespace kimberlite::kernels
