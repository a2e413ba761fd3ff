// Push constants of geglu.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct GegluPush {
  u32 n_elements;
};
CHECK_PUSH(GegluPush, 4)
KL_STRUCTS_END
