// Push constants of patch_pool.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct PatchPoolPush {
  u32 width4;  // width of a row in vec4
  u32 n_x;     // tokens of a row of the picture
  u32 merge;   // patches on a side of a token
  f32 scale;   // of the mean
};
CHECK_PUSH(PatchPoolPush, 16)
KL_STRUCTS_END
