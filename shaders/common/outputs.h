// What a kernel writes its rows of activations as (common/round_rows.glsl); a sum of these.
#include "types.h"
KL_STRUCTS_BEGIN
const u32 kFloats = 1;
const u32 kBytes = 2;  // for OpSDot
const u32 kWords = 4;  // for SWAR
KL_STRUCTS_END
