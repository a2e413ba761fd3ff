// Push constants of matvec.comp, float32 and int8 activations alike.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct MatvecPush {
  u32 n_panels;   // of 64 rows, in this shard
  u32 n_steps;    // steps over K: blocks of 32 elements, or superblocks of 256 for K-quants
  u32 x_units;    // vec4 in a row of x; int8 classes: units in a column of quantised x
  u32 first_row;  // row of y that row 0 of the shard computes
  u32 n_rows;     // rows of the shard that exist
  u32 y_stride;   // elements from one column of y to the next
  u32 n_columns;  // of x and y; the last tile may be wider
  f32 scale;      // of the whole matrix
  f32 softcap;    // c in c * tanh(y / c); 0: none
  // Of products with experts, whose rows follow one another in the matrix.
  u32 expert_panels;  // of one expert
  u32 slots_per_row;  // slot s multiplies row s / slots_per_row of x
};
CHECK_PUSH(MatvecPush, 44)

/// Up to COLUMNS slots of one expert; a tile without slots has count 0.
struct ExpertTile {
  u32 expert;
  u32 first;  // into the sorted slots
  u32 count;
};
KL_STRUCTS_END
