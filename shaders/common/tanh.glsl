// tanh and the GELU that is built on it, to a few ulp for every finite argument.
//
// GLSL's tanh() overflows to NaN on some drivers and has no bound on its error near 0.
#include "common/portable_math.h"

// Polynomial below 0.625 (Cephes, tanhf), where 1 - 2 / (e^2x + 1) would cancel. Beyond 9 the
// result is 1 in float32.
float accurate_tanh(float x) {
  const float magnitude = min(abs(x), 9.1);
  precise const float square = x * x;
  precise float y = square * -5.70498872745e-3 + 2.06390887954e-2;
  y = y * square - 5.37397155531e-2;
  y = y * square + 1.33314422036e-1;
  y = y * square - 3.33332819422e-1;
  y = y * square;
  y = y * x + x;
  precise const float far = 1.0 - 2.0 / (portable_exp(2.0 * magnitude) + 1.0);
  return magnitude < 0.625 ? y : (x < 0.0 ? -far : far);
}

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), written as x / (1 + e^-2u): the sum 1 + tanh
// would lose every digit for negative x.
float gelu_tanh(float x) {
  precise const float slope = 1.5957691216 + 0.0713548162726 * (x * x);
  precise const float twice = x * slope;
  precise const float result = x / (1.0 + portable_exp(-twice));
  return twice < -87.0 ? 0.0 : result;
}
