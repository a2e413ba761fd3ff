// Push constants of expert_route.comp and expert_tiles.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kMaxExperts = 2048;

struct ExpertRoutePush {
  u32 n_experts;
  u32 n_used;  // experts of a column
};
CHECK_PUSH(ExpertRoutePush, 8)

struct ExpertTilesPush {
  u32 n_experts;
  u32 n_slots;
  u32 tile_columns;  // slots of a tile at most
  u32 n_tiles;       // that there is room for
};
CHECK_PUSH(ExpertTilesPush, 16)
KL_STRUCTS_END
