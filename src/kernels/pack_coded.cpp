// The types of shaders/common/coded.h. Codes are taken from a block of the file to one byte each
// and from there to units, words of high bits and planes of scales; the scales keep their bytes.
#include "formats/blocks.hpp"
#include "kernels/pack_step.hpp"
#include "shaders/common/coded.h"

namespace kimberlite::kernels::pack {

using formats::GgmlType;

namespace {

constexpr size_t kMaxPlanes = 5;

/// Bytes of scales in a block of the file, that become one plane of 64 rows.
struct Plane {
  size_t at = 0;
  size_t n_bytes = 0;  // 0: no more planes
};

/// A type: where its block has what. A block is a step.
struct CodedType {
  uint32_t format;
  size_t block_bytes;
  void (*load)(const std::byte* block, uint8_t* codes);  // into zeros, like store
  void (*store)(const uint8_t* codes, std::byte* block);
  std::array<Plane, kMaxPlanes> planes{};
};

void or_into(std::byte& byte, uint32_t bits) { byte |= static_cast<std::byte>(bits); }
uint32_t bits_of(std::byte byte, size_t shift, uint32_t mask) {
  return std::to_integer<uint32_t>(byte) >> shift & mask;
}

constexpr uint64_t kEightOnes = 0x0101010101010101;

/// ORs eight codes at a time.
void or_codes(uint8_t* codes, uint64_t eight) {
  uint64_t before = 0;
  std::memcpy(&before, codes, 8);
  before |= eight;
  std::memcpy(codes, &before, 8);
}

// kGroups groups of 2 * kHalf elements, kHalf bytes each: low nibbles their first half.
template <size_t kAt, size_t kGroups, size_t kHalf>
void load_nibbles(const std::byte* block, uint8_t* codes) {
  for (size_t at = 0; at < kGroups * kHalf; at += 8) {
    const auto bytes = load<uint64_t>(block + kAt + at);
    uint8_t* group = codes + at / kHalf * 2 * kHalf + at % kHalf;
    or_codes(group, bytes & 15 * kEightOnes);
    or_codes(group + kHalf, bytes >> 4 & 15 * kEightOnes);
  }
}
template <size_t kAt, size_t kGroups, size_t kHalf>
void store_nibbles(const uint8_t* codes, std::byte* block) {
  for (size_t i = 0; i < kGroups * kHalf; ++i) {
    const uint8_t* group = codes + i / kHalf * 2 * kHalf + i % kHalf;
    or_into(block[kAt + i], (group[0] & 15u) | (group[kHalf] & 15u) << 4);
  }
}

/// The bits of a byte to eight bytes: each byte keeps its bit, then a sum carries it to bit 7.
uint64_t spread_byte(std::byte byte) {
  const uint64_t kept = std::to_integer<uint64_t>(byte) * kEightOnes & 0x8040201008040201;
  return (kept + 0x00406070787c7e7f) >> 7 & kEightOnes;
}

// Q5_0, Q5_1: nibbles, and the fifth bits of 32 elements in four bytes.
template <size_t kHighAt, size_t kAt>
void load_five_bits(const std::byte* block, uint8_t* codes) {
  load_nibbles<kAt, 1, 16>(block, codes);
  for (size_t i = 0; i < 4; ++i) or_codes(codes + 8 * i, spread_byte(block[kHighAt + i]) << 4);
}
template <size_t kHighAt, size_t kAt>
void store_five_bits(const uint8_t* codes, std::byte* block) {
  store_nibbles<kAt, 1, 16>(codes, block);
  uint32_t high = 0;
  for (size_t i = 0; i < 32; ++i) high |= (codes[i] >> 4 & 1u) << i;
  store(block + kHighAt, high);
}

// One bit of each of 256 elements: bit i / 32 of byte i % 32.
template <size_t kAt, int kShift>
void load_high(const std::byte* block, uint8_t* codes) {
  for (size_t l = 0; l < 32; l += 8) {
    const auto bits = load<uint64_t>(block + kAt + l);
    for (size_t g = 0; g < 8; ++g) or_codes(codes + 32 * g + l, (bits >> g & kEightOnes) << kShift);
  }
}
template <size_t kAt, int kShift>
void store_high(const uint8_t* codes, std::byte* block) {
  for (size_t i = 0; i < 256; ++i) {
    or_into(block[kAt + i % 32], (codes[i] >> kShift & 1u) << (i / 32));
  }
}

// Q5_K: nibbles in four groups of 64, fifth bits apart.
void load_q5_k(const std::byte* block, uint8_t* codes) {
  load_nibbles<48, 4, 32>(block, codes);
  load_high<16, 4>(block, codes);
}
void store_q5_k(const uint8_t* codes, std::byte* block) {
  store_nibbles<48, 4, 32>(codes, block);
  store_high<16, 4>(codes, block);
}

// Q2_K, Q3_K, TQ2_0, the upper bits of Q6_K: element 128 h + 32 k + l is bits 2k of byte 32 h + l.
template <size_t kAt, int kShift = 0>
void load_two_bits(const std::byte* block, uint8_t* codes) {
  for (size_t l = 0; l < 64; l += 8) {
    const auto bits = load<uint64_t>(block + kAt + l);
    uint8_t* half = codes + l / 32 * 128 + l % 32;
    for (size_t k = 0; k < 4; ++k) {
      or_codes(half + 32 * k, (bits >> (2 * k) & 3 * kEightOnes) << kShift);
    }
  }
}
template <size_t kAt, int kShift = 0>
void store_two_bits(const uint8_t* codes, std::byte* block) {
  for (size_t i = 0; i < 256; ++i) {
    or_into(block[kAt + i / 128 * 32 + i % 32], (codes[i] >> kShift & 3u) << (i / 32 % 4 * 2));
  }
}

void load_q3_k(const std::byte* block, uint8_t* codes) {
  load_two_bits<32>(block, codes);
  load_high<0, 2>(block, codes);
}
void store_q3_k(const uint8_t* codes, std::byte* block) {
  store_two_bits<32>(codes, block);
  store_high<0, 2>(codes, block);
}

}  // namespace

void load_q6_k(const std::byte* block, uint8_t* codes) {
  load_nibbles<0, 2, 64>(block, codes);
  load_two_bits<128, 4>(block, codes);
}
void store_q6_k(const uint8_t* codes, std::byte* block) {
  store_nibbles<0, 2, 64>(codes, block);
  store_two_bits<128, 4>(codes, block);
}

namespace {

// Q1_0, Q2_0: 128 bits from byte 2 on, from the low bits of each byte on.
template <size_t kBits>
void load_packed(const std::byte* block, uint8_t* codes) {
  for (size_t i = 0; i < 16; ++i) {
    if constexpr (kBits == 1) {
      or_codes(codes + 8 * i, spread_byte(block[2 + i]));
    } else {
      const auto byte = std::to_integer<uint32_t>(block[2 + i]);
      const uint32_t four = (byte | byte << 6 | byte << 12 | byte << 18) & 0x03030303;
      std::memcpy(codes + 4 * i, &four, 4);
    }
  }
}
template <size_t kBits>
void store_packed(const uint8_t* codes, std::byte* block) {
  for (size_t i = 0; i < 128 / kBits; ++i) {
    const size_t bit = i * kBits;
    or_into(block[2 + bit / 8], uint32_t{codes[i]} << (bit % 8));
  }
}

// TQ1_0: five digits of base 3 in a byte, as a fraction of 256; four in the last four bytes.
constexpr std::array<uint32_t, 5> kPowersOf3 = {1, 3, 9, 27, 81};

void load_trits(const std::byte* block, uint8_t* codes) {
  for (size_t i = 0; i < 256; ++i) {
    const formats::blocks::TritPlace place = formats::blocks::trit_place(i);
    const uint32_t fraction = bits_of(block[place.byte], 0, 255) * kPowersOf3[place.digit] & 255;
    codes[i] = static_cast<uint8_t>(fraction * 3 >> 8);
  }
}
void store_trits(const uint8_t* codes, std::byte* block) {
  std::array<uint32_t, 52> numbers{};
  for (size_t i = 0; i < 256; ++i) {
    const formats::blocks::TritPlace place = formats::blocks::trit_place(i);
    numbers[place.byte] += codes[i] * kPowersOf3[4 - place.digit];
  }
  for (size_t k = 0; k < 52; ++k) block[k] = static_cast<std::byte>((numbers[k] * 256 + 242) / 243);
}

using namespace shaders;
constexpr CodedType kQ4_1{
    kFormatQ4_1, 20, load_nibbles<4, 1, 16>, store_nibbles<4, 1, 16>, {{{0, 4}}}};
constexpr CodedType kQ5_0{kFormatQ5_0, 22, load_five_bits<2, 6>, store_five_bits<2, 6>, {{{0, 2}}}};
constexpr CodedType kQ5_1{kFormatQ5_1, 24, load_five_bits<4, 8>, store_five_bits<4, 8>, {{{0, 4}}}};
constexpr CodedType kIq4Nl{
    kFormatIq4Nl, 18, load_nibbles<2, 1, 16>, store_nibbles<2, 1, 16>, {{{0, 2}}}};
constexpr CodedType kMxfp4{
    kFormatMxfp4, 17, load_nibbles<1, 1, 16>, store_nibbles<1, 1, 16>, {{{0, 1}}}};
constexpr CodedType kNvfp4{
    kFormatNvfp4, 36, load_nibbles<4, 4, 8>, store_nibbles<4, 4, 8>, {{{0, 4}}}};
constexpr CodedType kQ2_0{kFormatQ2_0, 18, load_packed<2>, store_packed<2>, {{{0, 2}}}};
constexpr CodedType kQ1_0{kFormatQ1_0, 18, load_packed<1>, store_packed<1>, {{{0, 2}}}};
constexpr CodedType kQ5_K{kFormatQ5_K, 176, load_q5_k, store_q5_k, {}};
constexpr CodedType kIq4Xs{
    kFormatIq4Xs, 136, load_nibbles<8, 8, 16>, store_nibbles<8, 8, 16>, {{{0, 4}, {4, 4}}}};
constexpr CodedType kQ2_K{kFormatQ2_K,
                          84,
                          load_two_bits<16>,
                          store_two_bits<16>,
                          {{{0, 4}, {4, 4}, {8, 4}, {12, 4}, {80, 4}}}};
constexpr CodedType kQ3_K{
    kFormatQ3_K, 110, load_q3_k, store_q3_k, {{{96, 4}, {100, 4}, {104, 4}, {108, 2}}}};
constexpr CodedType kQ6_K{
    kFormatQ6_K, 210, load_q6_k, store_q6_k, {{{192, 4}, {196, 4}, {200, 4}, {204, 4}, {208, 2}}}};
constexpr CodedType kTq2_0{kFormatTernary, 66, load_two_bits<0>, store_two_bits<0>, {{{64, 2}}}};
constexpr CodedType kTq1_0{kFormatTernary, 54, load_trits, store_trits, {{{52, 2}}}};

/// Four codes, a byte each: elements 4j .. 4j + 3 of a block of 32.
uint32_t four_codes(const uint8_t* codes, size_t j) {
  uint32_t word = 0;
  std::memcpy(&word, codes + 4 * j, 4);
  return word;
}

constexpr uint32_t kOnes = 0x01010101;

/// Bit `shift` of each code of a block, eight words side by side, and back.
uint32_t join_bits(const uint8_t* codes, int shift) {
  uint32_t word = 0;
  for (size_t j = 0; j < 8; ++j) word |= (four_codes(codes, j) >> shift & kOnes) << j;
  return word;
}
void spread_bits(uint32_t word, int shift, uint8_t* codes) {
  for (size_t j = 0; j < 8; ++j) {
    const uint32_t four = four_codes(codes, j) | (word >> j & kOnes) << shift;
    std::memcpy(codes + 4 * j, &four, 4);
  }
}

/// The two bits from `shift` on of each code of half m of a block, four words side by side, and
/// back.
uint32_t join_pairs(const uint8_t* codes, size_t m, int shift) {
  uint32_t word = 0;
  for (size_t s = 0; s < 4; ++s) {
    word |= (four_codes(codes, 4 * m + s) >> shift & 3 * kOnes) << (2 * s);
  }
  return word;
}
void spread_pairs(uint32_t word, size_t m, int shift, uint8_t* codes) {
  for (size_t s = 0; s < 4; ++s) {
    const uint32_t four = four_codes(codes, 4 * m + s) | (word >> (2 * s) & 3 * kOnes) << shift;
    std::memcpy(codes + 4 * (4 * m + s), &four, 4);
  }
}

/// Block b of 32 codes to its place in the units (shaders/common/coded.glsl, four_codes), and back.
template <uint32_t kFormat>
void put_block(const uint8_t* codes, const Target& to, size_t b) {
  if constexpr (coded_bits(kFormat) == 1) store(to.unit(b / 4) + b % 4 * 4, join_bits(codes, 0));
  if constexpr (coded_bits(kFormat) == 2) {
    for (size_t m = 0; m < 2; ++m) {
      store(to.unit(b / 2) + b % 2 * 8 + m * 4, join_pairs(codes, m, 0));
    }
  }
  if constexpr (coded_bits(kFormat) == 4) {
    for (size_t j = 0; j < 4; ++j) {
      const uint32_t low = four_codes(codes, j) & 15 * kOnes;
      store(to.unit(b) + j * 4, low | (four_codes(codes, j + 4) & 15 * kOnes) << 4);
    }
  }
  if constexpr (coded_high_bits(kFormat) == 1) {
    store(to.scale(4, b * 256), join_bits(codes, static_cast<int>(coded_bits(kFormat))));
  }
  if constexpr (coded_high_bits(kFormat) == 2) {
    for (size_t m = 0; m < 2; ++m) store(to.scale(4, (2 * b + m) * 256), join_pairs(codes, m, 4));
  }
}

template <uint32_t kFormat>
void take_block(const Source& from, size_t b, uint8_t* codes) {
  if constexpr (coded_bits(kFormat) == 1) {
    spread_bits(load<uint32_t>(from.unit(b / 4) + b % 4 * 4), 0, codes);
  }
  if constexpr (coded_bits(kFormat) == 2) {
    for (size_t m = 0; m < 2; ++m) {
      spread_pairs(load<uint32_t>(from.unit(b / 2) + b % 2 * 8 + m * 4), m, 0, codes);
    }
  }
  if constexpr (coded_bits(kFormat) == 4) {
    for (size_t j = 0; j < 8; ++j) {
      const uint32_t four = load<uint32_t>(from.unit(b) + j % 4 * 4) >> (j / 4 * 4) & 15 * kOnes;
      std::memcpy(codes + 4 * j, &four, 4);
    }
  }
  if constexpr (coded_high_bits(kFormat) == 1) {
    spread_bits(load<uint32_t>(from.scale(4, b * 256)), static_cast<int>(coded_bits(kFormat)),
                codes);
  }
  if constexpr (coded_high_bits(kFormat) == 2) {
    for (size_t m = 0; m < 2; ++m) {
      spread_pairs(load<uint32_t>(from.scale(4, (2 * b + m) * 256)), m, 4, codes);
    }
  }
}

constexpr size_t first_scale(uint32_t format) { return size_t{coded_high_units(format)} * kUnit; }

template <const CodedType& kType>
void pack_step(const std::byte* src, const Target& to) {
  std::array<uint8_t, 32 * coded_blocks(kType.format)> codes{};
  kType.load(src, codes.data());
  for (size_t b = 0; b < coded_blocks(kType.format); ++b) {
    put_block<kType.format>(codes.data() + 32 * b, to, b);
  }
  size_t first = first_scale(kType.format);
  if constexpr (kType.format == kFormatQ5_K) pack_q4_k_scales(src, to, first);
  for (const Plane& plane : kType.planes) {
    if (plane.n_bytes == 0) break;
    std::memcpy(to.scale(plane.n_bytes, first), src + plane.at, plane.n_bytes);
    first += kPanelRows * plane.n_bytes;
  }
}

template <const CodedType& kType>
void unpack_step(const Source& from, std::byte* dst) {
  std::memset(dst, 0, kType.block_bytes);
  std::array<uint8_t, 32 * coded_blocks(kType.format)> codes{};
  for (size_t b = 0; b < coded_blocks(kType.format); ++b) {
    take_block<kType.format>(from, b, codes.data() + 32 * b);
  }
  kType.store(codes.data(), dst);
  size_t first = first_scale(kType.format);
  if constexpr (kType.format == kFormatQ5_K) unpack_q4_k_scales(from, dst, first);
  for (const Plane& plane : kType.planes) {
    if (plane.n_bytes == 0) break;
    std::memcpy(dst + plane.at, from.scale(plane.n_bytes, first), plane.n_bytes);
    first += kPanelRows * plane.n_bytes;
  }
}

template <const CodedType& kType>
constexpr const Codec* codec_of() {
  return &kCodec<kType.block_bytes, pack_step<kType>, unpack_step<kType>>;
}

struct Entry {
  GgmlType type;
  uint32_t format;
  const Codec* codec;
};
template <const CodedType& kType>
constexpr Entry entry(GgmlType type) {
  return {type, kType.format, codec_of<kType>()};
}
constexpr Entry kQ6_KEntry = entry<kQ6_K>(GgmlType::q6_k);
constexpr Entry kEntries[] = {entry<kQ4_1>(GgmlType::q4_1),    entry<kQ5_0>(GgmlType::q5_0),
                              entry<kQ5_1>(GgmlType::q5_1),    entry<kQ2_K>(GgmlType::q2_k),
                              entry<kQ3_K>(GgmlType::q3_k),    entry<kQ5_K>(GgmlType::q5_k),
                              entry<kIq4Nl>(GgmlType::iq4_nl), entry<kIq4Xs>(GgmlType::iq4_xs),
                              entry<kTq1_0>(GgmlType::tq1_0),  entry<kTq2_0>(GgmlType::tq2_0),
                              entry<kMxfp4>(GgmlType::mxfp4),  entry<kNvfp4>(GgmlType::nvfp4),
                              entry<kQ1_0>(GgmlType::q1_0),    entry<kQ2_0>(GgmlType::q2_0)};

const Entry* find_entry(GgmlType type, LinearClass linear_class) {
  if (type == GgmlType::q6_k && linear_class == LinearClass::int8_dot) return &kQ6_KEntry;
  const auto* found = std::ranges::find(kEntries, type, &Entry::type);
  return found == std::end(kEntries) ? nullptr : found;
}

}  // namespace

const Codec* find_coded_codec(GgmlType type, LinearClass linear_class) {
  const Entry* found = find_entry(type, linear_class);
  return found == nullptr ? nullptr : found->codec;
}

}  // namespace kimberlite::kernels::pack

namespace kimberlite::kernels {

std::optional<uint32_t> find_coded_format(formats::GgmlType type, LinearClass linear_class) {
  const pack::Entry* found = pack::find_entry(type, linear_class);
  return found == nullptr ? std::nullopt : std::optional(found->format);
}

}  // namespace kimberlite::kernels
