// What the packers of all types share: where a step of a row lives in its panel, the loop over rows
// and steps, the scales of the K-quants. Private to pack_rows.cpp and pack_coded.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "base/numeric.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels::pack {

inline constexpr size_t kUnit = 16;
inline constexpr size_t kRow = kPanelRows * kUnit;  // one unit of all rows of a panel

/// Where a step of one row lives: the start of the step's codes and scales in its panel.
template <typename Byte>
struct Place {
  Byte* codes;
  Byte* scales;
  size_t row;  // 0..63

  Byte* unit(size_t u) const { return codes + u * kRow + row * kUnit; }
  /// The scale of this row among 64 of `n_bytes` each.
  Byte* scale(size_t n_bytes, size_t first = 0) const {
    return scales + first + (row % 8 * 8 + row / 8) * n_bytes;
  }
  /// Class int8_swar: the 16 bits that elements 16h + 4j .. + 3 of block b have.
  Byte* swar(size_t b, size_t h, size_t j) const {
    const size_t pair = row / 16;
    const size_t half = row / 8 % 2;
    return codes + b * kRow + ((pair * 2 + h) * 8 + row % 8) * kUnit + j * 4 + half * 2;
  }
};
using Target = Place<std::byte>;
using Source = Place<const std::byte>;

/// The first 16 bytes of Q4_K and Q5_K: d, dmin f16; 12 bytes with 8 scales and 8 mins of 6 bits.
/// They become four words, the first at byte `first` of the step's scales.
inline void pack_q4_k_scales(const std::byte* src, const Target& to, size_t first = 0) {
  std::array<uint8_t, 12> s{};
  std::memcpy(s.data(), src + 4, s.size());
  const auto d_dmin = load<uint32_t>(src);
  const auto fields = [&](size_t b) -> uint32_t {  // scale | min << 6
    if (b < 4) return (s[b] & 63u) | (s[b + 4] & 63u) << 6;
    const uint32_t scale = (s[b + 4] & 15u) | (s[b - 4] >> 6 & 3u) << 4;
    const uint32_t least = (s[b + 4] >> 4 & 15u) | (s[b] >> 6 & 3u) << 4;
    return scale | least << 6;
  };
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t top = d_dmin >> (8 * i) & 0xff;
    store(to.scale(4, first + i * 256), fields(2 * i) | fields(2 * i + 1) << 12 | top << 24);
  }
}
inline void unpack_q4_k_scales(const Source& from, std::byte* dst, size_t first = 0) {
  std::array<uint8_t, 12> s{};
  uint32_t d_dmin = 0;
  for (size_t i = 0; i < 4; ++i) {
    const auto word = load<uint32_t>(from.scale(4, first + i * 256));
    d_dmin |= word >> 24 << (8 * i);
    for (size_t b = 2 * i; b < 2 * i + 2; ++b) {
      const uint32_t fields = word >> (b % 2 * 12);
      const uint32_t scale = fields & 63;
      const uint32_t least = fields >> 6 & 63;
      const auto put = [&](size_t at, uint32_t bits) {
        s[at] = static_cast<uint8_t>(s[at] | bits);
      };
      if (b < 4) {
        put(b, scale);
        put(b + 4, least);
      } else {
        put(b + 4, (scale & 15) | (least & 15) << 4);
        put(b - 4, scale >> 4 << 6);
        put(b, least >> 4 << 6);
      }
    }
  }
  store(dst, d_dmin);
  std::memcpy(dst + 4, s.data(), s.size());
}

struct Sizes {
  uint64_t row_bytes;
  uint64_t n_panels;
};

/// Calls visit(row, step, codes, scales) with pointers to the panel's step, panel by panel and step
/// by step, so that the packed side is walked in order.
template <typename Byte, typename Visit>
void for_each_step(const PackedLayout& layout, uint64_t n_rows, uint64_t n_panels, Byte* codes,
                   Byte* scales, const Visit& visit) {
  const uint64_t codes_step = layout.codes_panel_bytes / layout.n_steps;
  const uint64_t scales_step = layout.scales_panel_bytes / layout.n_steps;
  for (uint64_t panel = 0; panel < n_panels; ++panel) {
    const uint64_t first_row = panel * kPanelRows;
    const uint64_t end = std::min(n_rows, first_row + kPanelRows);
    for (uint64_t step = 0; step < layout.n_steps; ++step) {
      const uint64_t at = panel * layout.n_steps + step;
      Byte* scales_at = scales == nullptr ? nullptr : scales + at * scales_step;
      for (uint64_t row = first_row; row < end; ++row) {
        visit(row, step, Place<Byte>{codes + at * codes_step, scales_at, row - first_row});
      }
    }
  }
}

/// All steps of all rows by one function, so that it is inlined.
template <size_t kStepBytes, void (*kPack)(const std::byte*, const Target&)>
void pack_steps(const PackedLayout& layout, uint64_t n_rows, const Sizes& sizes,
                const std::byte* rows, std::byte* codes, std::byte* scales) {
  for_each_step(layout, n_rows, sizes.n_panels, codes, scales,
                [&](uint64_t row, uint64_t step, const Target& to) {
                  const uint64_t at = step * kStepBytes;
                  const std::byte* src = rows + row * sizes.row_bytes + at;
                  if (const uint64_t left = sizes.row_bytes - at; left < kStepBytes) {
                    std::array<std::byte, kStepBytes> padded{};
                    std::memcpy(padded.data(), src, left);  // only floats have partial steps
                    kPack(padded.data(), to);
                    return;
                  }
                  kPack(src, to);
                });
}

template <size_t kStepBytes, void (*kUnpack)(const Source&, std::byte*)>
void unpack_steps(const PackedLayout& layout, uint64_t n_rows, const Sizes& sizes,
                  const std::byte* codes, const std::byte* scales, std::byte* rows) {
  for_each_step(layout, n_rows, sizes.n_panels, codes, scales,
                [&](uint64_t row, uint64_t step, const Source& from) {
                  const uint64_t at = step * kStepBytes;
                  const uint64_t left = std::min<uint64_t>(sizes.row_bytes - at, kStepBytes);
                  std::array<std::byte, kStepBytes> whole;
                  kUnpack(from, whole.data());
                  std::memcpy(rows + row * sizes.row_bytes + at, whole.data(), left);
                });
}

/// How the rows of a type and class are packed.
struct Codec {
  void (*pack)(const PackedLayout&, uint64_t, const Sizes&, const std::byte*, std::byte*,
               std::byte*);
  void (*unpack)(const PackedLayout&, uint64_t, const Sizes&, const std::byte*, const std::byte*,
                 std::byte*);
};

/// For a step of kStepBytes in the file.
template <size_t kStepBytes, void (*kPack)(const std::byte*, const Target&),
          void (*kUnpack)(const Source&, std::byte*)>
constexpr Codec kCodec{pack_steps<kStepBytes, kPack>, unpack_steps<kStepBytes, kUnpack>};

/// The 256 codes of a block of Q6_K (ql[128], qh[64], 16 int8 scales, d f16), a byte each, and
/// back; both into zeros.
void load_q6_k(const std::byte* block, uint8_t* codes);
void store_q6_k(const uint8_t* codes, std::byte* block);

/// The packer of a type of shaders/common/coded.h; nothing for the others.
const Codec* find_coded_codec(formats::GgmlType type, LinearClass linear_class);

}  // namespace kimberlite::kernels::pack
