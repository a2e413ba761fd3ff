// Push constants of geglu.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct GegluPush {
  u32 width;        // of a row of out
  u32 gate_stride;  // elements from one row to the next
  u32 gate_first;   // element of a row where its `width` elements start
  u32 up_stride;
  u32 up_first;
};
CHECK_PUSH(GegluPush, 20)
KL_STRUCTS_END
