// Push constants of expert_seam.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct ExpertSeamPush {
  u32 width4;       // width of a row in vec4
  f32 eps;
  f32 scale;        // multiplies the whole residual stream after the addition
  u32 n_experts;
  u32 n_used;       // experts of a row
  u32 panel_units;  // steps of a panel of the router, times 8
};
CHECK_PUSH(ExpertSeamPush, 24)
KL_STRUCTS_END
