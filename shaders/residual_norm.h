// Push constants of residual_norm.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct ResidualNormPush {
  u32 width4;  // width of a row in vec4
  f32 eps;
  f32 scale;   // layer scalar: multiplies the whole residual stream after the addition
  u32 n_used;  // EXPERT_SUM: experts of a row; else 0
};
CHECK_PUSH(ResidualNormPush, 16)
KL_STRUCTS_END
