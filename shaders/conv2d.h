// Push constants of conv2d.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct Conv2dPush {
  u32 width;   // frequencies of x
  u32 c_in;    // channels of x
  u32 c_out4;  // channels of y in vec4
  u32 size_index;
  f32 eps;
};
CHECK_PUSH(Conv2dPush, 20)
KL_STRUCTS_END
