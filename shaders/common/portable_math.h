// exp and log from separate products and sums, shared by GLSL and C++: the same bits on every
// device and on the host.
//
// Vulkan rounds +, - and * correctly, but leaves exp(), log() and fma() to the driver (a driver may
// compute fma as a product and a sum). So nothing here is fused, every intermediate is precise,
// and no result is subnormal, because a device may flush those. Polynomials: Cephes, expf and logf.
#ifndef KL_PORTABLE_MATH_H
#define KL_PORTABLE_MATH_H
#include "types.h"
#ifdef __cplusplus
#include <bit>
#include <cmath>
#define KL_PRECISE
#define KL_FUNCTION inline
#else
#define KL_PRECISE precise
#define KL_FUNCTION
#endif
KL_STRUCTS_BEGIN
#ifdef __cplusplus
inline u32 floatBitsToUint(f32 x) { return std::bit_cast<u32>(x); }
inline f32 uintBitsToFloat(u32 bits) { return std::bit_cast<f32>(bits); }
using std::floor;
#endif

const f32 kLog2High = 0.693359375f;  // 10 bits: its product with an exponent is exact
const f32 kLog2Low = -2.12194440e-4f;

// e^x within 2 ulp for x in [-87, 88]; 0 below, e^88 above.
KL_FUNCTION f32 portable_exp(f32 x) {
  const f32 clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  KL_PRECISE const f32 scaled = clamped * 1.44269504f + 0.5f;
  const f32 n = floor(scaled);
  KL_PRECISE const f32 reduced = clamped - n * kLog2High;
  KL_PRECISE const f32 r = reduced - n * kLog2Low;
  KL_PRECISE f32 y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  KL_PRECISE const f32 square = r * r;
  y = y * square + r;
  y = y + 1.0f;
  KL_PRECISE const f32 result = y * uintBitsToFloat(u32(i32(n) + 127) << 23);
  return x < -87.0f ? 0.0f : result;
}

// log(2^exponent * (1 + f)) for f in [sqrt(1/2) - 1, sqrt(2) - 1], within 2 ulp.
KL_FUNCTION f32 portable_log_parts(f32 f, f32 exponent) {
  KL_PRECISE f32 y = f * 7.0376836292e-2f - 1.1514610310e-1f;
  y = y * f + 1.1676998740e-1f;
  y = y * f - 1.2420140846e-1f;
  y = y * f + 1.4249322787e-1f;
  y = y * f - 1.6668057665e-1f;
  y = y * f + 2.0000714765e-1f;
  y = y * f - 2.4999993993e-1f;
  y = y * f + 3.3333331174e-1f;
  KL_PRECISE const f32 square = f * f;
  y = y * f;
  y = y * square;
  y = y + exponent * kLog2Low;
  y = y - 0.5f * square;
  y = y + f;
  y = y + exponent * kLog2High;
  return y;
}

// log(x) for a positive normal x.
KL_FUNCTION f32 portable_log(f32 x) {
  // Splits x = 2^exponent * m with m in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const u32 offset = floatBitsToUint(x) - 0x3f3504f3u;
  const f32 exponent = f32(i32(offset) >> 23);
  const f32 m = uintBitsToFloat((offset & 0x7fffffu) + 0x3f3504f3u);
  KL_PRECISE const f32 f = m - 1.0f;
  return portable_log_parts(f, exponent);
}
KL_STRUCTS_END
#endif
