// Sigmoid and SiLU (x * sigmoid(x)), to a few ulp for every finite argument.
#include "common/portable_math.h"

float sigmoid(float x) {
  precise const float result = 1.0 / (1.0 + portable_exp(-x));
  return x < -87.0 ? 0.0 : result;
}

float silu(float x) {
  precise const float result = x / (1.0 + portable_exp(-x));
  return x < -87.0 ? 0.0 : result;
}
