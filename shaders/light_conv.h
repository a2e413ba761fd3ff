// Push constants of light_conv.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kLightTaps = 5;
struct LightConvPush {
  u32 width4;  // width of y in vec4
  f32 eps;
};
CHECK_PUSH(LightConvPush, 8)
KL_STRUCTS_END
