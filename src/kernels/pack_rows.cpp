// One step of one row from GGUF bytes into a panel and back, for every type and class but those of
// pack_coded.cpp; and the rows of a matrix.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/numeric.hpp"
#include "kernels/pack_step.hpp"

namespace kimberlite::kernels {

using formats::GgmlType;
using namespace pack;

namespace {

// Floats: the bytes as they are.
template <size_t kUnits>
void pack_floats(const std::byte* src, const Target& to) {
  for (size_t u = 0; u < kUnits; ++u) std::memcpy(to.unit(u), src + u * kUnit, kUnit);
}
template <size_t kUnits>
void unpack_floats(const Source& from, std::byte* dst) {
  for (size_t u = 0; u < kUnits; ++u) std::memcpy(dst + u * kUnit, from.unit(u), kUnit);
}

// Q8_0: d f16, 32 int8. kFlip adds 128 to each code.
template <uint64_t kFlip>
void pack_q8_0(const std::byte* src, const Target& to) {
  std::memcpy(to.scale(2), src, 2);
  for (size_t i = 0; i < 4; ++i) {
    store(to.unit(i / 2) + i % 2 * 8, load<uint64_t>(src + 2 + i * 8) ^ kFlip);
  }
}
template <uint64_t kFlip>
void unpack_q8_0(const Source& from, std::byte* dst) {
  std::memcpy(dst, from.scale(2), 2);
  for (size_t i = 0; i < 4; ++i) {
    store(dst + 2 + i * 8, load<uint64_t>(from.unit(i / 2) + i % 2 * 8) ^ kFlip);
  }
}
constexpr uint64_t kAdd128 = 0x8080808080808080;

// Q4_0: d f16, 16 bytes: element j low, element 16 + j high.
void pack_q4_0(const std::byte* src, const Target& to) {
  std::memcpy(to.scale(2), src, 2);
  std::memcpy(to.unit(0), src + 2, kUnit);
}
void unpack_q4_0(const Source& from, std::byte* dst) {
  std::memcpy(dst, from.scale(2), 2);
  std::memcpy(dst + 2, from.unit(0), kUnit);
}

/// The low nibbles of four bytes side by side in 16 bits, and back.
uint16_t join_nibbles(uint32_t bytes) {
  const uint32_t pairs = (bytes | bytes >> 4) & 0x00ff00ff;
  return static_cast<uint16_t>(pairs | pairs >> 8);
}
uint32_t spread_nibbles(uint16_t nibbles) {
  const uint32_t pairs = (nibbles | uint32_t{nibbles} << 8) & 0x00ff00ff;
  return (pairs | pairs << 4) & 0x0f0f0f0f;
}

/// A unit of Q4_0 order (16 bytes) to block b in SWAR order, and back.
void swar_block(const std::byte* unit, const Target& to, size_t b) {
  for (size_t j = 0; j < 4; ++j) {
    const auto bytes = load<uint32_t>(unit + j * 4);
    store(to.swar(b, 0, j), join_nibbles(bytes & 0x0f0f0f0f));
    store(to.swar(b, 1, j), join_nibbles(bytes >> 4 & 0x0f0f0f0f));
  }
}
void unswar_block(const Source& from, size_t b, std::byte* unit) {
  for (size_t j = 0; j < 4; ++j) {
    const uint32_t low = spread_nibbles(load<uint16_t>(from.swar(b, 0, j)));
    const uint32_t high = spread_nibbles(load<uint16_t>(from.swar(b, 1, j)));
    store(unit + j * 4, low | high << 4);
  }
}

void pack_q4_0_swar(const std::byte* src, const Target& to) {
  std::memcpy(to.scale(2), src, 2);
  swar_block(src + 2, to, 0);
}
void unpack_q4_0_swar(const Source& from, std::byte* dst) {
  std::memcpy(dst, from.scale(2), 2);
  unswar_block(from, 0, dst + 2);
}

// Q4_K: 16 bytes of scales (pack_step.hpp), 128 of codes: chunk c of 32 bytes has the elements of
// block 2c low and of block 2c + 1 high.
constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0f;

/// Block b of Q4_K in the order of Q4_0, and back (`unit` holds blocks 2c and 2c + 1).
std::array<std::byte, kUnit> q4_k_block(const std::byte* quants, size_t b) {
  std::array<std::byte, kUnit> unit;
  for (size_t i = 0; i < 2; ++i) {
    const auto first = load<uint64_t>(quants + b / 2 * 32 + i * 8) >> (b % 2 * 4) & kLowNibbles;
    const auto last = load<uint64_t>(quants + b / 2 * 32 + 16 + i * 8) >> (b % 2 * 4) & kLowNibbles;
    store(unit.data() + i * 8, first | last << 4);
  }
  return unit;
}
void q4_k_chunk(const std::byte* even, const std::byte* odd, std::byte* quants) {
  for (size_t i = 0; i < 2; ++i) {
    const auto a = load<uint64_t>(even + i * 8);
    const auto b = load<uint64_t>(odd + i * 8);
    store(quants + i * 8, (a & kLowNibbles) | (b & kLowNibbles) << 4);
    store(quants + 16 + i * 8, (a >> 4 & kLowNibbles) | (b >> 4 & kLowNibbles) << 4);
  }
}

void pack_q4_k(const std::byte* src, const Target& to) {
  pack_q4_k_scales(src, to);
  for (size_t b = 0; b < 8; ++b) std::memcpy(to.unit(b), q4_k_block(src + 16, b).data(), kUnit);
}
void unpack_q4_k(const Source& from, std::byte* dst) {
  unpack_q4_k_scales(from, dst);
  for (size_t c = 0; c < 4; ++c)
    q4_k_chunk(from.unit(2 * c), from.unit(2 * c + 1), dst + 16 + c * 32);
}
void pack_q4_k_swar(const std::byte* src, const Target& to) {
  pack_q4_k_scales(src, to);
  for (size_t b = 0; b < 8; ++b) swar_block(q4_k_block(src + 16, b).data(), to, b);
}
void unpack_q4_k_swar(const Source& from, std::byte* dst) {
  unpack_q4_k_scales(from, dst);
  for (size_t c = 0; c < 4; ++c) {
    std::array<std::byte, kUnit> even;
    std::array<std::byte, kUnit> odd;
    unswar_block(from, 2 * c, even.data());
    unswar_block(from, 2 * c + 1, odd.data());
    q4_k_chunk(even.data(), odd.data(), dst + 16 + c * 32);
  }
}

void pack_q6_k(const std::byte* src, const Target& to) {
  std::array<uint8_t, 256> codes{};
  load_q6_k(src, codes.data());
  for (size_t chunk = 0; chunk < 4; ++chunk) {
    std::memcpy(to.scale(4, chunk * 256), src + 192 + chunk * 4, 4);
    for (size_t group = 0; group < 4; ++group) {
      const uint8_t* e = codes.data() + chunk * 64 + group * 16;
      for (size_t u = 0; u < 3; ++u) {
        const uint8_t* four = e + u * 4;
        const uint32_t word = four[0] | uint32_t{four[1]} << 6 | uint32_t{four[2]} << 12 |
                              uint32_t{four[3]} << 18 | uint32_t{e[12 + u]} << 24 |
                              (uint32_t{e[15]} >> (2 * u) & 3) << 30;
        store(to.unit(chunk * 3 + u) + group * 4, word);
      }
    }
  }
  std::memcpy(to.scale(2, 1024), src + 208, 2);
}
void unpack_q6_k(const Source& from, std::byte* dst) {
  std::array<uint8_t, 256> codes{};
  std::memset(dst, 0, 192);
  for (size_t chunk = 0; chunk < 4; ++chunk) {
    std::memcpy(dst + 192 + chunk * 4, from.scale(4, chunk * 256), 4);
    for (size_t i = 0; i < 64; ++i) {
      const std::byte* words = from.unit(chunk * 3) + i / 16 * 4;
      const size_t e = i % 16;
      const auto word = [&](size_t u) { return load<uint32_t>(words + u * kRow); };
      uint32_t code = 0;
      if (e < 12) code = word(e / 4) >> (e % 4 * 6) & 63;
      if (e >= 12 && e < 15) code = word(e - 12) >> 24 & 63;
      if (e == 15) code = word(0) >> 30 | word(1) >> 30 << 2 | word(2) >> 30 << 4;
      codes[chunk * 64 + i] = static_cast<uint8_t>(code);
    }
  }
  store_q6_k(codes.data(), dst);
  std::memcpy(dst + 208, from.scale(2, 1024), 2);
}

Sizes check_sizes(const PackedLayout& layout, uint64_t n_rows, size_t rows, size_t codes,
                  size_t scales) {
  const std::optional<uint64_t> row_bytes = formats::row_bytes(layout.type, layout.n_cols);
  KL_CHECK(row_bytes.has_value(), "rows that are no whole number of blocks");
  const uint64_t n_panels = div_up(n_rows, kPanelRows);
  KL_CHECK(rows == n_rows * *row_bytes, "bytes of another number of rows");
  KL_CHECK(codes == n_panels * layout.codes_panel_bytes, "codes of another number of panels");
  KL_CHECK(scales == n_panels * layout.scales_panel_bytes, "scales of another number of panels");
  return {*row_bytes, n_panels};
}

const Codec& find_codec(GgmlType type, LinearClass linear_class) {
  if (const Codec* coded = find_coded_codec(type, linear_class)) return *coded;
  const bool swar = linear_class == LinearClass::int8_swar;
  switch (type) {
    case GgmlType::f32:
      return kCodec<128, pack_floats<8>, unpack_floats<8>>;
    case GgmlType::f16:
    case GgmlType::bf16:
      return kCodec<64, pack_floats<4>, unpack_floats<4>>;
    case GgmlType::q8_0:
      if (linear_class == LinearClass::int8_dot) return kCodec<34, pack_q8_0<0>, unpack_q8_0<0>>;
      return kCodec<34, pack_q8_0<kAdd128>, unpack_q8_0<kAdd128>>;
    case GgmlType::q4_0:
      if (swar) return kCodec<18, pack_q4_0_swar, unpack_q4_0_swar>;
      return kCodec<18, pack_q4_0, unpack_q4_0>;
    case GgmlType::q4_k:
      if (swar) return kCodec<144, pack_q4_k_swar, unpack_q4_k_swar>;
      return kCodec<144, pack_q4_k, unpack_q4_k>;
    default:
      KL_CHECK(type == GgmlType::q6_k, "a type that kernels cannot read");
      return kCodec<210, pack_q6_k, unpack_q6_k>;
  }
}

}  // namespace

void pack_rows(const PackedLayout& layout, uint64_t n_rows, std::span<const std::byte> rows,
               std::span<std::byte> codes, std::span<std::byte> scales) {
  const Sizes sizes = check_sizes(layout, n_rows, rows.size(), codes.size(), scales.size());
  if (n_rows % kPanelRows != 0) {
    const auto clear_last = [](std::span<std::byte> all, uint64_t n) {
      if (n != 0) std::memset(all.data() + (all.size() - n), 0, n);
    };
    clear_last(codes, layout.codes_panel_bytes);
    clear_last(scales, layout.scales_panel_bytes);
  }
  find_codec(layout.type, layout.linear_class)
      .pack(layout, n_rows, sizes, rows.data(), codes.data(), scales.data());
}

void unpack_rows(const PackedLayout& layout, uint64_t n_rows, std::span<const std::byte> codes,
                 std::span<const std::byte> scales, std::span<std::byte> rows) {
  const Sizes sizes = check_sizes(layout, n_rows, rows.size(), codes.size(), scales.size());
  find_codec(layout.type, layout.linear_class)
      .unpack(layout, n_rows, sizes, codes.data(), scales.data(), rows.data());
}

}  // namespace kimberlite::kernels
