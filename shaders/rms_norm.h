#include "common/types.h"
KL_STRUCTS_BEGIN
struct RmsNormPush {
  u32 n;              // width of a row
  u32 x_stride;       // elements from one row to the next
  u32 y_stride;
  f32 eps;
};
CHECK_PUSH(RmsNormPush, 16)
KL_STRUCTS_END
