// Push constants of quant_act.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct QuantActPush {
  u32 n_blocks;  // of 32 elements, in a row
  u32 n_rows;
};
CHECK_PUSH(QuantActPush, 8)
KL_STRUCTS_END
