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
  f32 softcap;    // c in c * tanh(y / c); 0: none
};
CHECK_PUSH(MatvecPush, 32)
KL_STRUCTS_END
