// Push constants of layer_norm.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct LayerNormPush {
  u32 width4;  // width of a row in vec4
  f32 eps;
};
CHECK_PUSH(LayerNormPush, 8)
KL_STRUCTS_END
