// Push constants of rope_2d.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct Rope2dPush {
  u32 n_heads;
  f32 eps;
};
CHECK_PUSH(Rope2dPush, 8)
KL_STRUCTS_END
