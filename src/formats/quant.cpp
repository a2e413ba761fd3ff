// Block layouts as drawn per function; byte k of a block is b[k], element i of the block is x[i].
// All multi-byte fields are little-endian. Source: ggml's block definitions (ggml-common.h).
#include "formats/quant.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/numeric.hpp"
#include "base/result.hpp"

namespace kimberlite::formats {
namespace {

using Byte = uint8_t;
// One block each: b has block_bytes bytes, x has block_elems elements.
using DequantizeBlock = void (*)(const Byte* b, float* x);
using QuantizeBlock = void (*)(const float* x, Byte* b);

uint16_t load_u16(const Byte* b) { return static_cast<uint16_t>(b[0] | (b[1] << 8)); }
uint32_t load_u32(const Byte* b) {
  return static_cast<uint32_t>(load_u16(b)) | (static_cast<uint32_t>(load_u16(b + 2)) << 16);
}
void store_u16(Byte* b, uint16_t value) {
  b[0] = static_cast<Byte>(value & 0xffu);
  b[1] = static_cast<Byte>(value >> 8);
}
float load_half(const Byte* b) { return half_to_float(load_u16(b)); }
// Low (h = 0) or high (h = 1) four bits.
int nibble(Byte b, int h) { return (b >> (4 * h)) & 15; }

// `value` to an integer in [low, high], toward zero; NaN gives low (a plain cast is undefined).
int clamp_to_int(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value > static_cast<float>(high)) return high;
  return static_cast<int>(value);
}

void dequantize_f32(const Byte* b, float* x) { std::memcpy(x, b, sizeof(float)); }
void dequantize_f16(const Byte* b, float* x) { *x = load_half(b); }
void dequantize_bf16(const Byte* b, float* x) { *x = bfloat_to_float(load_u16(b)); }

// |d:f16|qs[16]|  x[i] = d * (nibble - 8); low nibbles are the first half of the block.
void dequantize_q4_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(nibble(b[2 + i % 16], i / 16) - 8);
}

// |d:f16|m:f16|qs[16]|  x[i] = d * nibble + m
void dequantize_q4_1(const Byte* b, float* x) {
  const float d = load_half(b);
  const float m = load_half(b + 2);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(nibble(b[4 + i % 16], i / 16)) + m;
}

// |d:f16|qh:u32|qs[16]|  x[i] = d * ((nibble | bit i of qh << 4) - 16)
void dequantize_q5_0(const Byte* b, float* x) {
  const float d = load_half(b);
  const uint32_t qh = load_u32(b + 2);
  for (int i = 0; i < 32; ++i) {
    const int high = static_cast<int>((qh >> i) & 1u) << 4;
    x[i] = d * static_cast<float>((nibble(b[6 + i % 16], i / 16) | high) - 16);
  }
}

// |d:f16|m:f16|qh:u32|qs[16]|  x[i] = d * (nibble | bit i of qh << 4) + m
void dequantize_q5_1(const Byte* b, float* x) {
  const float d = load_half(b);
  const float m = load_half(b + 2);
  const uint32_t qh = load_u32(b + 4);
  for (int i = 0; i < 32; ++i) {
    const int high = static_cast<int>((qh >> i) & 1u) << 4;
    x[i] = d * static_cast<float>(nibble(b[8 + i % 16], i / 16) | high) + m;
  }
}

// |d:f16|q:i8[32]|  x[i] = d * q[i]
void dequantize_q8_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

// The twelve bytes `s` of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima. Groups 0 to 3
// lie in the low six bits of bytes 0-3 (scale) and 4-7 (minimum); groups 4 to 7 have their low
// nibbles in bytes 8-11 and their top two bits above those six.
struct ScaleMin {
  int scale;
  int min;
};
ScaleMin k_scale_min(const Byte* s, int group) {
  if (group < 4) return {s[group] & 63, s[group + 4] & 63};
  const Byte low = s[group + 4];
  return {(low & 15) | ((s[group - 4] >> 6) << 4), (low >> 4) | ((s[group] >> 6) << 4)};
}

// |d:f16|dmin:f16|scales[12]|qs[128]|  x = d * scale * q - dmin * min, groups of 32
void dequantize_q4_k(const Byte* b, float* x) {
  const float d = load_half(b);
  const float dmin = load_half(b + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale_min(b + 4, group);
    const float group_d = d * static_cast<float>(scale);
    const float group_min = dmin * static_cast<float>(min);
    const Byte* qs = b + 16 + 32 * (group / 2);
    for (int l = 0; l < 32; ++l) {
      x[32 * group + l] = group_d * static_cast<float>(nibble(qs[l], group % 2)) - group_min;
    }
  }
}

// |d:f16|dmin:f16|scales[12]|qh[32]|qs[128]|  as Q4_K, with bit `group` of qh[l] as fifth bit
void dequantize_q5_k(const Byte* b, float* x) {
  const float d = load_half(b);
  const float dmin = load_half(b + 2);
  const Byte* qh = b + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale_min(b + 4, group);
    const float group_d = d * static_cast<float>(scale);
    const float group_min = dmin * static_cast<float>(min);
    const Byte* qs = b + 48 + 32 * (group / 2);
    for (int l = 0; l < 32; ++l) {
      const int q = nibble(qs[l], group % 2) | (((qh[l] >> group) & 1) << 4);
      x[32 * group + l] = group_d * static_cast<float>(q) - group_min;
    }
  }
}

// |ql[128]|qh[64]|scales:i8[16]|d:f16|  x = d * scale * (q - 32), groups of 16; q has its low four
// bits in ql and its top two in qh
void dequantize_q6_k(const Byte* b, float* x) {
  const float d = load_half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int quarter = (i % 128) / 32;
    const int l = i % 32;
    const int low = nibble(b[64 * half + 32 * (quarter & 1) + l], quarter >> 1);
    const int high = (b[128 + 32 * half + l] >> (2 * quarter)) & 3;
    const auto scale = static_cast<int8_t>(b[192 + i / 16]);
    x[i] = d * static_cast<float>(scale) * static_cast<float>((low | (high << 4)) - 32);
  }
}

void quantize_f32(const float* x, Byte* b) { std::memcpy(b, x, sizeof(float)); }
void quantize_f16(const float* x, Byte* b) { store_u16(b, float_to_half(*x)); }
void quantize_bf16(const float* x, Byte* b) { store_u16(b, float_to_bfloat(*x)); }

// 1 / d, or 0 where the block is so small that d or its inverse vanishes: all codes mean zero then.
float inverse_scale(float d) {
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// The value of largest magnitude (the first of equals) becomes exactly -8 * d.
void quantize_q4_0(const float* x, Byte* b) {
  float extreme = 0.0f;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  const float d = extreme / -8.0f;
  const float inverse = inverse_scale(d);
  store_u16(b, float_to_half(d));
  for (int i = 0; i < 16; ++i) {
    const int low = clamp_to_int(x[i] * inverse + 8.5f, 0, 15);
    const int high = clamp_to_int(x[i + 16] * inverse + 8.5f, 0, 15);
    b[2 + i] = static_cast<Byte>(low | (high << 4));
  }
}

// d = max |x| / 127, codes rounded half away from zero.
void quantize_q8_0(const float* x, Byte* b) {
  float magnitude = 0.0f;
  for (int i = 0; i < 32; ++i) magnitude = std::max(magnitude, std::fabs(x[i]));
  const float d = magnitude / 127.0f;
  const float inverse = inverse_scale(d);
  store_u16(b, float_to_half(d));
  for (int i = 0; i < 32; ++i) {
    const int q = clamp_to_int(std::round(x[i] * inverse), -127, 127);
    b[2 + i] = static_cast<Byte>(static_cast<int8_t>(q));
  }
}

// A row as a loop over its blocks, with the block's function inlined: a call per element would be
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
  void (*quantize)(const float* x, Byte* b, uint64_t n);  // null where we only read
};

// A new format is one function above and one line here.
constexpr Codec kCodecs[] = {
    {GgmlType::f32, dequantize_blocks<dequantize_f32, 1, 4>, quantize_blocks<quantize_f32, 1, 4>},
    {GgmlType::f16, dequantize_blocks<dequantize_f16, 1, 2>, quantize_blocks<quantize_f16, 1, 2>},
    {GgmlType::bf16, dequantize_blocks<dequantize_bf16, 1, 2>,
     quantize_blocks<quantize_bf16, 1, 2>},
    {GgmlType::q4_0, dequantize_blocks<dequantize_q4_0, 32, 18>,
     quantize_blocks<quantize_q4_0, 32, 18>},
    {GgmlType::q4_1, dequantize_blocks<dequantize_q4_1, 32, 20>, nullptr},
    {GgmlType::q5_0, dequantize_blocks<dequantize_q5_0, 32, 22>, nullptr},
    {GgmlType::q5_1, dequantize_blocks<dequantize_q5_1, 32, 24>, nullptr},
    {GgmlType::q8_0, dequantize_blocks<dequantize_q8_0, 32, 34>,
     quantize_blocks<quantize_q8_0, 32, 34>},
    {GgmlType::q4_k, dequantize_blocks<dequantize_q4_k, 256, 144>, nullptr},
    {GgmlType::q5_k, dequantize_blocks<dequantize_q5_k, 256, 176>, nullptr},
    {GgmlType::q6_k, dequantize_blocks<dequantize_q6_k, 256, 210>, nullptr},
};

const Codec* find_codec(GgmlType type) {
  const auto* found = std::ranges::find(kCodecs, type, &Codec::type);
  return found == std::end(kCodecs) ? nullptr : found;
}

}  // namespace

bool can_dequantize(GgmlType type) { return find_codec(type) != nullptr; }

bool can_quantize(GgmlType type) {
  const Codec* codec = find_codec(type);
  return codec != nullptr && codec->quantize != nullptr;
}

void dequantize_row(GgmlType type, const std::byte* src, float* dst, uint64_t n) {
  const Codec* codec = find_codec(type);
  KL_CHECK(codec != nullptr, "no dequantiser for this type");
  KL_CHECK(n % traits(type).block_elems == 0, "a row is a whole number of blocks");
  codec->dequantize(reinterpret_cast<const Byte*>(src), dst, n);
}

void quantize_row(GgmlType type, const float* src, std::byte* dst, uint64_t n) {
  const Codec* codec = find_codec(type);
  KL_CHECK(codec != nullptr && codec->quantize != nullptr, "no quantiser for this type");
  KL_CHECK(n % traits(type).block_elems == 0, "a row is a whole number of blocks");
  codec->quantize(src, reinterpret_cast<Byte*>(dst), n);
}

}  // namespace kimberlite::formats
