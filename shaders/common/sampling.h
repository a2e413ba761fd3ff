// The element-wise arithmetic of sampling, shared by the sample_*.comp shaders and the CPU oracle:
// the order of logits, their weights as integers and the noise. Same bits everywhere.
#ifndef KL_SAMPLING_H
#define KL_SAMPLING_H
#include "portable_math.h"
KL_STRUCTS_BEGIN

// A sum of weights. Integer addition is exact, so no order of summation is special.
struct U64 {
  u32 low;
  u32 high;
};

KL_FUNCTION U64 make_u64(u32 low, u32 high) {
  U64 result;
  result.low = low;
  result.high = high;
  return result;
}
KL_FUNCTION U64 add_u64(U64 a, U64 b) {
  const u32 low = a.low + b.low;
  return make_u64(low, a.high + b.high + (low < a.low ? 1u : 0u));
}
KL_FUNCTION U64 subtract_u64(U64 a, U64 b) {
  return make_u64(a.low - b.low, a.high - b.high - (a.low < b.low ? 1u : 0u));
}
KL_FUNCTION bool less_u64(U64 a, U64 b) {
  return a.high < b.high || (a.high == b.high && a.low < b.low);
}

// High word of a * b.
KL_FUNCTION u32 multiply_high(u32 a, u32 b) {
#ifdef __cplusplus
  return u32((uint64_t{a} * b) >> 32);
#else
  uint high, low;
  umulExtended(a, b, high, low);
  return high;
#endif
}

// total * fraction / 2^32, rounded down.
KL_FUNCTION U64 scale_u64(U64 total, u32 fraction) {
  const U64 high_part = make_u64(total.high * fraction, multiply_high(total.high, fraction));
  return add_u64(high_part, make_u64(multiply_high(total.low, fraction), 0));
}

const u32 kMinusInfinityBits = 0xff800000u;
const u32 kMinusInfinityKey = 0x007fffffu;  // order_key(-inf); every candidate's key is greater

// One representation for each number that matters: NaN becomes -inf (never a candidate), +inf a
// big finite number, zeros and subnormals (which a device may flush) +0.
KL_FUNCTION f32 canonical(f32 x) {
  const u32 bits = floatBitsToUint(x);
  const u32 magnitude = bits & 0x7fffffffu;
  if (magnitude < 0x00800000u) return 0.0f;
  if (magnitude > 0x7f800000u) return uintBitsToFloat(kMinusInfinityBits);
  if (bits == 0x7f800000u) return 3.0e38f;
  return x;
}

// Orders canonical floats as unsigned integers.
KL_FUNCTION u32 order_key(f32 x) {
  const u32 bits = floatBitsToUint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
KL_FUNCTION f32 key_value(u32 key) {
  return uintBitsToFloat((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// e^(x - best) in units of 2^-40.
KL_FUNCTION U64 weight_of(f32 x, f32 best) {
  KL_PRECISE const f32 scaled = portable_exp(x - best) * 1048576.0f;
  const f32 high = floor(scaled);
  KL_PRECISE const f32 low = (scaled - high) * 1048576.0f;
  return make_u64((u32(high) << 20) | u32(low), u32(high) >> 12);
}

struct Random4 {
  u32 x, y, z, w;
};
KL_FUNCTION u32 random_word(Random4 random, u32 i) {
  return i == 0 ? random.x : (i == 1 ? random.y : (i == 2 ? random.z : random.w));
}

// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
KL_FUNCTION Random4 philox(u32 counter0, u32 counter1, u32 key0, u32 key1) {
  u32 a = counter0, b = counter1, c = 0, d = 0;
  for (u32 round = 0; round < 10; ++round) {
    const u32 high0 = multiply_high(0xD2511F53u, a), low0 = 0xD2511F53u * a;
    const u32 high1 = multiply_high(0xCD9E8D57u, c), low1 = 0xCD9E8D57u * c;
    a = high1 ^ b ^ key0;
    b = low1;
    c = high0 ^ d ^ key1;
    d = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  Random4 result;
  result.x = a;
  result.y = b;
  result.z = c;
  result.w = d;
  return result;
}

// Tokens t, t + 64, t + 128 and t + 192 of a block of 256 share one philox call: neighbouring
// invocations then read neighbouring logits, whatever the subgroup size (up to 64).
KL_FUNCTION u32 noise_counter(u32 token) { return ((token >> 8) << 6) | (token & 63u); }
KL_FUNCTION u32 noise_word(u32 token) { return (token >> 6) & 3u; }

// -log(-log(u)) for u = 1 - (bits + 1/2) / 2^32, strictly inside (0, 1). Small `bits` mean large
// noise, where the distance of u from 1 keeps all its digits.
KL_FUNCTION f32 gumbel(u32 bits) {
  const bool near_one = bits < 0x40000000u;
  const u32 tail = near_one ? bits : ~bits;
  KL_PRECISE const f32 fine = (f32(tail & 255u) + 0.5f) * 2.3283064365386963e-10f;  // 2^-32
  KL_PRECISE const f32 distance = f32(tail >> 8) * 5.9604644775390625e-8f + fine;   // 2^-24
  const f32 log_u = near_one ? portable_log_parts(-distance, 0.0f) : portable_log(distance);
  return -portable_log(-log_u);
}
KL_STRUCTS_END
#endif
