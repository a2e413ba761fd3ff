// Push constants of add_rows.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct AddRowsPush {
  u32 width4;  // width of a row in vec4
};
CHECK_PUSH(AddRowsPush, 4)
KL_STRUCTS_END
