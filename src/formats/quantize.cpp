// One block of floats to each quantised type. Q4_0 and Q8_0 round as ggml does, bit for bit; the
// others take the scale from the extremes of a group and the nearest code, given the scale as it is
// stored: correct, and the base that a search for better scales starts from.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "formats/blocks.hpp"

namespace kimberlite::formats::blocks {
namespace {

// `value` to an integer in [low, high], toward zero; NaN gives low (a plain cast is undefined).
int clamp_to_int(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value > static_cast<float>(high)) return high;
  return static_cast<int>(value);
}

int round_to_int(float value, int low, int high) {
  return clamp_to_int(std::round(value), low, high);
}

// 1 / d, or 0 where the block is so small that d or its inverse vanishes: all codes mean zero then.
float inverse_scale(float d) {
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

/// Rounded to f16 as stored, and what that stands for.
float store_half(Byte* b, float value) {
  const uint16_t half = float_to_half(std::clamp(value, -65504.0f, 65504.0f));
  store_u16(b, half);
  return half_to_float(half);
}

/// The value of largest magnitude, the first of equals.
float extreme_of(std::span<const float> x) {
  float extreme = 0.0f;
  for (const float value : x) {
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  }
  return extreme;
}

struct Range {
  float low;
  float high;
};
Range range_of(std::span<const float> x) {
  Range range{x[0], x[0]};
  for (const float value : x) range = {std::min(range.low, value), std::max(range.high, value)};
  return range;
}

/// The code in `table` nearest to `value`, the first of equals.
int nearest(const std::array<int8_t, 16>& table, float value) {
  int best = 0;
  for (int i = 1; i < 16; ++i) {
    const float error = std::fabs(value - static_cast<float>(table[static_cast<size_t>(i)]));
    if (error < std::fabs(value - static_cast<float>(table[static_cast<size_t>(best)]))) best = i;
  }
  return best;
}

/// Low nibbles the first 16 codes, high ones the last.
template <typename Code>
void put_nibbles(Byte* b, const Code& code) {
  for (int i = 0; i < 16; ++i) b[i] = static_cast<Byte>(code(i) | (code(i + 16) << 4));
}

/// ORs `bits` into a byte at `shift`.
void put(Byte& b, int bits, size_t shift) { b = static_cast<Byte>(b | (bits << shift)); }

/// The scale of a superblock for group factors with codes from -lowest to lowest - 1: the extreme
/// factor takes -lowest.
float super_scale(std::span<const float> factors, int lowest) {
  return extreme_of(factors) / static_cast<float>(-lowest);
}

/// Scale and minimum of each group of a superblock: x = factor * q - least, q up to max_code.
template <size_t n_groups>
struct Affines {
  std::array<float, n_groups> factors{};
  std::array<float, n_groups> least{};

  Affines(const float* x, int max_code) {
    constexpr size_t kSize = 256 / n_groups;
    for (size_t g = 0; g < n_groups; ++g) {
      const Range range = range_of({x + g * kSize, kSize});
      least[g] = std::max(0.0f, -range.low);
      factors[g] = std::max(0.0f, range.high + least[g]) / static_cast<float>(max_code);
    }
  }
};

int scale_code(float factor, float d, int max_code) {
  return round_to_int(factor * inverse_scale(d), 0, max_code);
}

int affine_code(float x, float factor, float least, int max_code) {
  return round_to_int((x + least) * inverse_scale(factor), 0, max_code);
}

/// The first 16 bytes of Q4_K and Q5_K, and the codes of all elements.
std::array<Byte, 256> quantize_k(const float* x, Byte* b, int max_code) {
  const Affines<8> affines(x, max_code);
  const float d = store_half(b, *std::ranges::max_element(affines.factors) / 63.0f);
  const float dmin = store_half(b + 2, *std::ranges::max_element(affines.least) / 63.0f);
  Byte* s = b + 4;
  std::array<Byte, 256> codes{};
  for (size_t g = 0; g < 8; ++g) {
    const int scale = scale_code(affines.factors[g], d, 63);
    const int min = scale_code(affines.least[g], dmin, 63);
    if (g < 4) {
      put(s[g], scale, 0);
      put(s[g + 4], min, 0);
    } else {
      put(s[g + 4], (scale & 15) | ((min & 15) << 4), 0);
      put(s[g - 4], scale >> 4, 6);
      put(s[g], min >> 4, 6);
    }
    for (size_t i = 32 * g; i < 32 * g + 32; ++i) {
      codes[i] = static_cast<Byte>(affine_code(x[i], d * static_cast<float>(scale),
                                               dmin * static_cast<float>(min), max_code));
    }
  }
  return codes;
}

/// Two codes a byte as Q4_K has them.
void put_k_nibbles(Byte* qs, const std::array<Byte, 256>& codes) {
  for (size_t i = 0; i < 256; ++i) put(qs[i / 64 * 32 + i % 32], codes[i] & 15, i / 32 % 2 * 4);
}

/// Four codes a byte as Q2_K has them.
void put_two_bits(Byte* qs, size_t i, int code) {
  put(qs[i / 128 * 32 + i % 32], code, 2 * (i / 32 % 4));
}

/// E8M0 with the extreme in the topmost power of two that E2M1 has: at most 2^2 * 1.5.
Byte e8m0_for(float extreme) {
  if (!std::isfinite(extreme)) return 254;
  if (extreme == 0.0f) return 0;
  return static_cast<Byte>(std::clamp(std::ilogb(extreme) - 2 + 127, 0, 254));
}

/// The code of the nearest unsigned E4M3 number, halved; never 0x7f, which means zero.
Byte nearest_ue4m3(float value) {
  Byte best = 0;
  for (int code = 1; code < 0x7f; ++code) {
    const auto candidate = static_cast<Byte>(code);
    if (std::fabs(half_ue4m3(candidate) - value) < std::fabs(half_ue4m3(best) - value)) {
      best = candidate;
    }
  }
  return best;
}

}  // namespace

// The extreme becomes exactly -8 * d.
void quantize_q4_0(const float* x, Byte* b) {
  const float d = extreme_of({x, 32}) / -8.0f;
  const float inverse = inverse_scale(d);
  store_u16(b, float_to_half(d));
  put_nibbles(b + 2, [&](int i) { return clamp_to_int(x[i] * inverse + 8.5f, 0, 15); });
}

// d = max |x| / 127, codes rounded half away from zero.
void quantize_q8_0(const float* x, Byte* b) {
  const float d = std::fabs(extreme_of({x, 32})) / 127.0f;
  const float inverse = inverse_scale(d);
  store_u16(b, float_to_half(d));
  for (int i = 0; i < 32; ++i) {
    b[2 + i] = static_cast<Byte>(static_cast<int8_t>(round_to_int(x[i] * inverse, -127, 127)));
  }
}

void quantize_q4_1(const float* x, Byte* b) {
  const Range range = range_of({x, 32});
  const float d = store_half(b, (range.high - range.low) / 15.0f);
  const float least = -store_half(b + 2, range.low);
  put_nibbles(b + 4, [&](int i) { return affine_code(x[i], d, least, 15); });
}

void quantize_q5_0(const float* x, Byte* b) {
  const float inverse = inverse_scale(store_half(b, extreme_of({x, 32}) / -16.0f));
  const auto code = [&](int i) { return round_to_int(x[i] * inverse, -16, 15) + 16; };
  uint32_t high = 0;
  for (int i = 0; i < 32; ++i) high |= static_cast<uint32_t>(code(i) >> 4) << i;
  store_u32(b + 2, high);
  put_nibbles(b + 6, [&](int i) { return code(i) & 15; });
}

void quantize_q5_1(const float* x, Byte* b) {
  const Range range = range_of({x, 32});
  const float d = store_half(b, (range.high - range.low) / 31.0f);
  const float least = -store_half(b + 2, range.low);
  const auto code = [&](int i) { return affine_code(x[i], d, least, 31); };
  uint32_t high = 0;
  for (int i = 0; i < 32; ++i) high |= static_cast<uint32_t>(code(i) >> 4) << i;
  store_u32(b + 4, high);
  put_nibbles(b + 8, [&](int i) { return code(i) & 15; });
}

void quantize_q2_k(const float* x, Byte* b) {
  const Affines<16> affines(x, 3);
  std::memset(b, 0, 84);
  const float d = store_half(b + 80, *std::ranges::max_element(affines.factors) / 15.0f);
  const float dmin = store_half(b + 82, *std::ranges::max_element(affines.least) / 15.0f);
  for (size_t i = 0; i < 256; ++i) {
    const int scale = scale_code(affines.factors[i / 16], d, 15);
    const int min = scale_code(affines.least[i / 16], dmin, 15);
    b[i / 16] = static_cast<Byte>(scale | (min << 4));
    put_two_bits(
        b + 16, i,
        affine_code(x[i], d * static_cast<float>(scale), dmin * static_cast<float>(min), 3));
  }
}

void quantize_q3_k(const float* x, Byte* b) {
  std::memset(b, 0, 110);
  std::array<float, 16> factors{};
  for (size_t j = 0; j < 16; ++j) factors[j] = extreme_of({x + 16 * j, 16}) / -4.0f;
  const float d = store_half(b + 108, super_scale(factors, 32));
  for (size_t j = 0; j < 16; ++j) {
    const int scale = round_to_int(factors[j] * inverse_scale(d), -32, 31);
    put(b[96 + j % 8], (scale + 32) & 15, j / 8 * 4);
    put(b[104 + j % 4], (scale + 32) >> 4, j / 4 * 2);
    const float inverse = inverse_scale(d * static_cast<float>(scale));
    for (size_t i = 16 * j; i < 16 * j + 16; ++i) {
      const int code = round_to_int(x[i] * inverse, -4, 3) + 4;
      put_two_bits(b + 32, i, code & 3);
      put(b[i % 32], code >> 2, i / 32);
    }
  }
}

void quantize_q4_k(const float* x, Byte* b) {
  std::memset(b, 0, 144);
  put_k_nibbles(b + 16, quantize_k(x, b, 15));
}

void quantize_q5_k(const float* x, Byte* b) {
  std::memset(b, 0, 176);
  const std::array<Byte, 256> codes = quantize_k(x, b, 31);
  put_k_nibbles(b + 48, codes);
  for (size_t i = 0; i < 256; ++i) put(b[16 + i % 32], codes[i] >> 4, i / 32);
}

void quantize_q6_k(const float* x, Byte* b) {
  std::memset(b, 0, 210);
  std::array<float, 16> factors{};
  for (size_t j = 0; j < 16; ++j) factors[j] = extreme_of({x + 16 * j, 16}) / -32.0f;
  const float d = store_half(b + 208, super_scale(factors, 128));
  for (size_t i = 0; i < 256; ++i) {
    const int scale = round_to_int(factors[i / 16] * inverse_scale(d), -128, 127);
    b[192 + i / 16] = static_cast<Byte>(static_cast<int8_t>(scale));
    const int code =
        round_to_int(x[i] * inverse_scale(d * static_cast<float>(scale)), -32, 31) + 32;
    const size_t half = i / 128;
    const size_t quarter = i % 128 / 32;
    put(b[64 * half + 32 * (quarter & 1) + i % 32], code & 15, quarter / 2 * 4);
    put(b[128 + 32 * half + i % 32], code >> 4, 2 * quarter);
  }
}

// The extreme becomes -127, the longer side of the table.
void quantize_iq4_nl(const float* x, Byte* b) {
  const float inverse = inverse_scale(store_half(b, extreme_of({x, 32}) / -127.0f));
  put_nibbles(b + 2, [&](int i) { return nearest(kIq4Values, x[i] * inverse); });
}

void quantize_iq4_xs(const float* x, Byte* b) {
  std::memset(b, 0, 136);
  std::array<float, 8> factors{};
  for (size_t g = 0; g < 8; ++g) factors[g] = extreme_of({x + 32 * g, 32}) / -127.0f;
  const float d = store_half(b, super_scale(factors, 32));
  int scales_h = 0;
  for (size_t g = 0; g < 8; ++g) {
    const int scale = round_to_int(factors[g] * inverse_scale(d), -32, 31);
    put(b[4 + g / 2], (scale + 32) & 15, g % 2 * 4);
    scales_h |= ((scale + 32) >> 4) << (2 * g);
    const float inverse = inverse_scale(d * static_cast<float>(scale));
    put_nibbles(b + 8 + 16 * g, [&](int i) {
      return nearest(kIq4Values, x[32 * g + static_cast<size_t>(i)] * inverse);
    });
  }
  store_u16(b + 2, static_cast<uint16_t>(scales_h));
}

void quantize_mxfp4(const float* x, Byte* b) {
  b[0] = e8m0_for(extreme_of({x, 32}));
  const float inverse = inverse_scale(half_e8m0(b[0]));
  put_nibbles(b + 1, [&](int i) { return nearest(kFp4Values, x[i] * inverse); });
}

// The extreme becomes 12, or -12; a tensor whose values fit the scales badly has a scale of its own
// beside it, which is not in the block.
void quantize_nvfp4(const float* x, Byte* b) {
  for (int s = 0; s < 4; ++s) {
    const float* group = x + 16 * s;
    b[s] = nearest_ue4m3(std::fabs(extreme_of({group, 16})) / 12.0f);
    const float inverse = inverse_scale(half_ue4m3(b[s]));
    for (int i = 0; i < 8; ++i) {
      const int low = nearest(kFp4Values, group[i] * inverse);
      const int high = nearest(kFp4Values, group[i + 8] * inverse);
      b[4 + 8 * s + i] = static_cast<Byte>(low | (high << 4));
    }
  }
}

void quantize_tq1_0(const float* x, Byte* b) {
  constexpr std::array<int, 5> kPlaceValue = {81, 27, 9, 3, 1};
  const float inverse = inverse_scale(store_half(b + 52, std::fabs(extreme_of({x, 256}))));
  std::array<int, 52> numbers{};
  for (size_t i = 0; i < 256; ++i) {
    const TritPlace place = trit_place(i);
    numbers[place.byte] += (round_to_int(x[i] * inverse, -1, 1) + 1) * kPlaceValue[place.digit];
  }
  // Rounded up, so that the digits come out of the fraction of 256 exactly.
  for (size_t k = 0; k < 52; ++k) b[k] = static_cast<Byte>((numbers[k] * 256 + 242) / 243);
}

void quantize_tq2_0(const float* x, Byte* b) {
  std::memset(b, 0, 66);
  const float inverse = inverse_scale(store_half(b + 64, std::fabs(extreme_of({x, 256}))));
  for (size_t i = 0; i < 256; ++i) put_two_bits(b, i, round_to_int(x[i] * inverse, -1, 1) + 1);
}

// d is the mean magnitude, which has the least squared error for given signs.
void quantize_q1_0(const float* x, Byte* b) {
  std::memset(b, 0, 18);
  float sum = 0.0f;
  for (int i = 0; i < 128; ++i) sum += std::fabs(x[i]);
  store_half(b, sum / 128.0f);
  for (size_t i = 0; i < 128; ++i) put(b[2 + i / 8], x[i] >= 0.0f ? 1 : 0, i % 8);
}

// The extreme becomes 2 * d.
void quantize_q2_0(const float* x, Byte* b) {
  std::memset(b, 0, 18);
  const float inverse = inverse_scale(store_half(b, extreme_of({x, 64}) / 2.0f));
  for (size_t i = 0; i < 64; ++i) {
    put(b[2 + i / 4], round_to_int(x[i] * inverse, -1, 2) + 1, 2 * (i % 4));
  }
}

}  // namespace kimberlite::formats::blocks
