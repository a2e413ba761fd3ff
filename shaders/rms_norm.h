// Push constants of rms_norm.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct RmsNormPush {
  u32 width4;  // width of a row in vec4
  f32 eps;
};
CHECK_PUSH(RmsNormPush, 8)
KL_STRUCTS_END
