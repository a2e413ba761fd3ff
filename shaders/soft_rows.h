// Push constants of soft_rows.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kNoSource = 0xffffffffu;
struct SoftRowsPush {
  u32 width4;  // width of a row in vec4
};
CHECK_PUSH(SoftRowsPush, 4)
KL_STRUCTS_END
