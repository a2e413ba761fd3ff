#version 450
// Multiply-accumulates in registers and nothing else: what the products of a class could reach.
//
//   c[k] <- c[k] * a + b   n_rounds * kMacUnrolled times, for kMacChains values of k
//   y[i] = c[0] + a * (c[1] + c[2] + ...), one after the other
//   c[k] starts as s = (i + k) mod 1024, a float as 1 + s / 1024
//
//   operands  u32 [2]   a, b: bits of floats or integers
//   y         u32 [n]   n = invocations; bits of a float or an integer
//
// One step does what one instruction of the class does in a product: a float32 multiply-accumulate,
// with PAIRS a 32-bit one that serves two rows, with INT8 a dot product of four bytes. Each needs
// the one before it, so that no compiler leaves one out or computes c * a ahead.
//
// Grid: x = invocations. Integers wrap. Source: Williams, Waterman & Patterson 2009, "Roofline".
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef HAS_DOT
#extension GL_EXT_spirv_intrinsics : require
#endif

#include "mac_rate.h"
#ifdef INT8
#include "common/dot4.glsl"
#endif

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { MacRatePush p; };
layout(binding = 0, std430) readonly buffer Operands { uvec2 operands; };
layout(binding = 1, std430) writeonly buffer Y { uint y[]; };

#if defined(PAIRS) || defined(INT8)
#define VALUE int
#define START(s) int(s)
#define BITS(v) uint(v)
#else
#define VALUE float
#define START(s) uintBitsToFloat(0x3f800000u | (s) << 13)
#define BITS(v) floatBitsToUint(v)
#endif

VALUE from_bits(uint bits) {
#if defined(PAIRS) || defined(INT8)
  return int(bits);
#else
  return uintBitsToFloat(bits);
#endif
}

VALUE mac(VALUE c, VALUE a, VALUE b) {
#if defined(INT8)
  return dot4(uint(c), uint(a)) + b;
#elif defined(PAIRS)
  return c * a + b;
#else
  precise const float sum = fma(c, a, b);
  return sum;
#endif
}

void main() {
  const uint i = gl_GlobalInvocationID.x;
  const VALUE a = from_bits(operands.x);
  const VALUE b = from_bits(operands.y);
  VALUE c[kMacChains];
  [[unroll]] for (uint k = 0; k < kMacChains; ++k) c[k] = START((i + k) & 1023u);
  for (uint round = 0; round < p.n_rounds; ++round) {
    [[unroll]] for (uint step = 0; step < kMacUnrolled; ++step) {
      [[unroll]] for (uint k = 0; k < kMacChains; ++k) c[k] = mac(c[k], a, b);
    }
  }
  VALUE sum = c[0];
  [[unroll]] for (uint k = 1; k < kMacChains; ++k) sum = mac(c[k], a, sum);
  y[i] = BITS(sum);
}
