// Push constants of clip.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct ClipPush {
  u32 width4;  // width of a row in vec4
  f32 low;
  f32 high;
};
CHECK_PUSH(ClipPush, 12)
KL_STRUCTS_END
