// The table of codecs, and rows as loops over their blocks (dequantize.cpp, quantize.cpp).
#include "formats/quant.hpp"

#include <algorithm>
#include <cstring>

#include "base/result.hpp"
#include "formats/blocks.hpp"

namespace kimberlite::formats {
namespace {

using namespace blocks;

using DequantizeBlock = void (*)(const Byte* b, float* x);
using QuantizeBlock = void (*)(const float* x, Byte* b);

void dequantize_f32(const Byte* b, float* x) { std::memcpy(x, b, sizeof(float)); }
void dequantize_f16(const Byte* b, float* x) { *x = load_half(b); }
void dequantize_bf16(const Byte* b, float* x) { *x = bfloat_to_float(load_u16(b)); }
void quantize_f32(const float* x, Byte* b) { std::memcpy(b, x, sizeof(float)); }
void quantize_f16(const float* x, Byte* b) { store_u16(b, float_to_half(*x)); }
void quantize_bf16(const float* x, Byte* b) { store_u16(b, float_to_bfloat(*x)); }

// A row as a loop over its blocks, with the functions above inlined: a call per element would be
// most of the cost of the plain floats. The sizes repeat ggml_type.cpp; a test compares them.
template <DequantizeBlock block, uint32_t elems, uint32_t bytes>
void dequantize_blocks(const Byte* b, float* x, uint64_t n) {
  for (uint64_t i = 0; i < n / elems; ++i) block(b + i * bytes, x + i * elems);
}
template <QuantizeBlock block, uint32_t elems, uint32_t bytes>
void quantize_blocks(const float* x, Byte* b, uint64_t n) {
  for (uint64_t i = 0; i < n / elems; ++i) block(x + i * elems, b + i * bytes);
}

struct Codec {
  GgmlType type;
  void (*dequantize)(const Byte* b, float* x, uint64_t n);
  void (*quantize)(const float* x, Byte* b, uint64_t n);
};

template <DequantizeBlock dequantize, QuantizeBlock quantize, uint32_t elems, uint32_t bytes>
constexpr Codec codec(GgmlType type) {
  return {type, dequantize_blocks<dequantize, elems, bytes>,
          quantize_blocks<quantize, elems, bytes>};
}

// A new format is a function in each of dequantize.cpp and quantize.cpp and one line here.
constexpr Codec kCodecs[] = {
    codec<dequantize_f32, quantize_f32, 1, 4>(GgmlType::f32),
    codec<dequantize_f16, quantize_f16, 1, 2>(GgmlType::f16),
    codec<dequantize_bf16, quantize_bf16, 1, 2>(GgmlType::bf16),
    codec<dequantize_q4_0, quantize_q4_0, 32, 18>(GgmlType::q4_0),
    codec<dequantize_q4_1, quantize_q4_1, 32, 20>(GgmlType::q4_1),
    codec<dequantize_q5_0, quantize_q5_0, 32, 22>(GgmlType::q5_0),
    codec<dequantize_q5_1, quantize_q5_1, 32, 24>(GgmlType::q5_1),
    codec<dequantize_q8_0, quantize_q8_0, 32, 34>(GgmlType::q8_0),
    codec<dequantize_q2_k, quantize_q2_k, 256, 84>(GgmlType::q2_k),
    codec<dequantize_q3_k, quantize_q3_k, 256, 110>(GgmlType::q3_k),
    codec<dequantize_q4_k, quantize_q4_k, 256, 144>(GgmlType::q4_k),
    codec<dequantize_q5_k, quantize_q5_k, 256, 176>(GgmlType::q5_k),
    codec<dequantize_q6_k, quantize_q6_k, 256, 210>(GgmlType::q6_k),
    codec<dequantize_iq4_nl, quantize_iq4_nl, 32, 18>(GgmlType::iq4_nl),
    codec<dequantize_iq4_xs, quantize_iq4_xs, 256, 136>(GgmlType::iq4_xs),
    codec<dequantize_mxfp4, quantize_mxfp4, 32, 17>(GgmlType::mxfp4),
    codec<dequantize_nvfp4, quantize_nvfp4, 64, 36>(GgmlType::nvfp4),
    codec<dequantize_tq1_0, quantize_tq1_0, 256, 54>(GgmlType::tq1_0),
    codec<dequantize_tq2_0, quantize_tq2_0, 256, 66>(GgmlType::tq2_0),
    codec<dequantize_q1_0, quantize_q1_0, 128, 18>(GgmlType::q1_0),
    codec<dequantize_q2_0, quantize_q2_0, 64, 18>(GgmlType::q2_0),
};

const Codec* find_codec(GgmlType type) {
  const auto* found = std::ranges::find(kCodecs, type, &Codec::type);
  return found == std::end(kCodecs) ? nullptr : found;
}

}  // namespace

bool can_dequantize(GgmlType type) { return find_codec(type) != nullptr; }

bool can_quantize(GgmlType type) { return find_codec(type) != nullptr; }

std::span<const uint32_t> half_offsets(GgmlType type) {
  static constexpr uint32_t kFirst[] = {0, 2};
  static constexpr uint32_t kQ2_K[] = {80, 82};
  static constexpr uint32_t kQ3_K[] = {108};
  static constexpr uint32_t kQ6_K[] = {208};
  static constexpr uint32_t kTq1_0[] = {52};
  static constexpr uint32_t kTq2_0[] = {64};
  KL_CHECK(can_dequantize(type), "no dequantiser for this type");
  switch (type) {
    case GgmlType::f32:
    case GgmlType::bf16:
    case GgmlType::mxfp4:
    case GgmlType::nvfp4:
      return {};
    case GgmlType::q4_1:
    case GgmlType::q5_1:
    case GgmlType::q4_k:
    case GgmlType::q5_k:
      return kFirst;
    case GgmlType::q2_k:
      return kQ2_K;
    case GgmlType::q3_k:
      return kQ3_K;
    case GgmlType::q6_k:
      return kQ6_K;
    case GgmlType::tq1_0:
      return kTq1_0;
    case GgmlType::tq2_0:
      return kTq2_0;
    default:
      return std::span(kFirst).first(1);
  }
}

void dequantize_row(GgmlType type, const std::byte* src, float* dst, uint64_t n) {
  const Codec* codec = find_codec(type);
  KL_CHECK(codec != nullptr, "no dequantiser for this type");
  KL_CHECK(n % traits(type).block_elems == 0, "a row is a whole number of blocks");
  codec->dequantize(reinterpret_cast<const Byte*>(src), dst, n);
}

void quantize_row(GgmlType type, const float* src, std::byte* dst, uint64_t n) {
  const Codec* codec = find_codec(type);
  KL_CHECK(codec != nullptr, "no quantiser for this type");
  KL_CHECK(n % traits(type).block_elems == 0, "a row is a whole number of blocks");
  codec->quantize(src, reinterpret_cast<Byte*>(dst), n);
}

}  // namespace kimberlite::formats
