// Push constants of tower_attention.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct TowerAttentionPush {
  u32 n_queries;
  u32 n_keys;
  u32 n_heads;
};
CHECK_PUSH(TowerAttentionPush, 12)
KL_STRUCTS_END
