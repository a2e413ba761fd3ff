// Push constants of silu.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct SiluPush {
  u32 width4;  // width of a row in vec4
};
CHECK_PUSH(SiluPush, 4)
KL_STRUCTS_END
