#version 450
// mac_rate.comp for int8 factors in cooperative matrices:
//
//   c[k] <- A B + c[k]   n_rounds * kMacUnrolled times, for kMacChains values of k
//   y[i] = an element of c[0] + c[1] + ..., all of which are the same
//   c[k] starts as k, A as the first byte of a, B as that of b, everywhere
//
//   operands  u32 [2]   a, b
//   y         i32 [n]   n = invocations
//
// Grid: x = invocations, whole subgroups. Integers wrap. Source: VK_KHR_cooperative_matrix.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require

#include "mac_rate.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint MATRIX_M = 16;
layout(constant_id = 2) const uint MATRIX_N = 16;
layout(constant_id = 3) const uint MATRIX_K = 32;
layout(push_constant, std430) uniform Push { MacRatePush p; };
layout(binding = 0, std430) readonly buffer Operands { uvec2 operands; };
layout(binding = 1, std430) writeonly buffer Y { int y[]; };

#define TOTALS coopmat<int, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>

void main() {
  const coopmat<int8_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> a =
      coopmat<int8_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA>(int8_t(operands.x));
  const coopmat<int8_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> b =
      coopmat<int8_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB>(int8_t(operands.y));
  TOTALS c[kMacChains];
  [[unroll]] for (uint k = 0; k < kMacChains; ++k) c[k] = TOTALS(int(k));
  for (uint round = 0; round < p.n_rounds; ++round) {
    [[unroll]] for (uint step = 0; step < kMacUnrolled; ++step) {
      [[unroll]] for (uint k = 0; k < kMacChains; ++k) c[k] = coopMatMulAdd(a, b, c[k]);
    }
  }
  [[unroll]] for (uint k = 1; k < kMacChains; ++k) c[0] += c[k];
  y[gl_GlobalInvocationID.x] = c[0][0];
}
