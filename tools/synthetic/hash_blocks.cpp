// One function per format: hash words in, one block out.
#include "synthetic/hash_blocks.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "base/numeric.hpp"
#include "base/result.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;

static_assert(std::endian::native == std::endian::little, "blocks are made in place");

template <size_t N>
using Words = std::array<uint64_t, N>;

template <size_t N>
Words<N> words_of(const HashStream& stream, uint64_t block) {
  Words<N> words;
  for (size_t j = 0; j < N; ++j) words[j] = stream.word(block * N + j);
  return words;
}

template <size_t N>
uint8_t byte_of(const Words<N>& words, size_t index) {
  return static_cast<uint8_t>(words[index / 8] >> (8 * (index % 8)));
}

/// Scales differ from block to block, so that a kernel that reads a neighbour's shows.
uint16_t jitter(float base, uint8_t byte) {
  const float factor = 0.75f + static_cast<float>(byte) * (1.0f / 512.0f);
  return float_to_half(base * factor);
}

void put_half(std::byte* to, uint16_t half) { std::memcpy(to, &half, 2); }

// d @0, qs[16] @2
void make_q4_0(const HashStream& stream, float spread, uint64_t block, std::byte* to) {
  const auto words = words_of<3>(stream, block);
  const uint16_t d = jitter(spread * 0.125f, byte_of(words, 23));
  const auto sign = static_cast<uint16_t>((words[2] & 1u) << 15);
  put_half(to, static_cast<uint16_t>(d | sign));
  std::memcpy(to + 2, words.data(), 16);
}

// d @0, q[32] @2
void make_q8_0(const HashStream& stream, float spread, uint64_t block, std::byte* to) {
  const auto words = words_of<5>(stream, block);
  put_half(to, jitter(spread * 0.0078125f, byte_of(words, 39)));
  std::memcpy(to + 2, words.data(), 32);
  for (size_t i = 2; i < 34; ++i) {
    if (to[i] == std::byte{0x80}) to[i] = std::byte{0x81};  // ggml never writes -128
  }
}

// d @0, dmin @2, scales[12] @4, qs[128] @16
void make_q4_k(const HashStream& stream, float spread, uint64_t block, std::byte* to) {
  const auto words = words_of<19>(stream, block);
  const float base = spread * 0.0024f;
  put_half(to, jitter(base, byte_of(words, 151)));
  put_half(to + 2, jitter(base * 7.5f, byte_of(words, 150)));
  for (size_t j = 0; j < 4; ++j) {
    const auto six_bits = [&](size_t index) { return 32u | (byte_of(words, index) & 31u); };
    const uint32_t sc_low = six_bits(128 + j), sc_high = six_bits(132 + j);
    const uint32_t mn_low = six_bits(136 + j), mn_high = six_bits(140 + j);
    to[4 + j] = static_cast<std::byte>(sc_low | ((sc_high >> 4) << 6));
    to[8 + j] = static_cast<std::byte>(mn_low | ((mn_high >> 4) << 6));
    to[12 + j] = static_cast<std::byte>((sc_high & 15u) | ((mn_high & 15u) << 4));
  }
  std::memcpy(to + 16, words.data(), 128);
}

// ql[128] @0, qh[64] @128, scales[16] @192, d @208
void make_q6_k(const HashStream& stream, float spread, uint64_t block, std::byte* to) {
  const auto words = words_of<27>(stream, block);
  std::memcpy(to, words.data(), 192);
  for (size_t i = 0; i < 16; ++i) {
    const uint8_t byte = byte_of(words, 192 + i);
    const int magnitude = 64 + (byte & 63);
    to[192 + i] = static_cast<std::byte>((byte & 128) != 0 ? -magnitude : magnitude);
  }
  put_half(to + 208, jitter(spread * 0.00032f, byte_of(words, 215)));
}

using MakeBlock = void (*)(const HashStream&, float, uint64_t, std::byte*);

MakeBlock find_maker(GgmlType type) {
  switch (type) {
    case GgmlType::q4_0:
      return make_q4_0;
    case GgmlType::q8_0:
      return make_q8_0;
    case GgmlType::q4_k:
      return make_q4_k;
    case GgmlType::q6_k:
      return make_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_make_blocks(GgmlType type) { return find_maker(type) != nullptr; }
bool is_always_blocks(GgmlType type) { return type == GgmlType::q4_k || type == GgmlType::q6_k; }

void fill_blocks(GgmlType type, const HashStream& stream, float spread, uint64_t first_block,
                 std::span<std::byte> bytes) {
  const MakeBlock make = find_maker(type);
  const size_t block_bytes = formats::traits(type).block_bytes;
  KL_CHECK(make != nullptr, "blocks of this type cannot be made");
  KL_CHECK(bytes.size() % block_bytes == 0, "not a whole number of blocks");
  for (size_t i = 0; i * block_bytes < bytes.size(); ++i) {
    make(stream, spread, first_block + i, bytes.data() + i * block_bytes);
  }
}

}  // namespace kimberlite::synthetic
