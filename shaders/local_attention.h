// Push constants of local_attention.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kLocalWindow = 12;  // rows that a row sees, itself included
struct LocalAttentionPush {
  u32 d4;  // width of a head in vec4
  f32 k_scale;
  f32 cap;
};
CHECK_PUSH(LocalAttentionPush, 12)
KL_STRUCTS_END
