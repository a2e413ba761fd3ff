// Push constants of mac_rate.comp, and how much an invocation does.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kMacChains = 8;    // as many as hide the latency of an addition
const u32 kMacUnrolled = 16;  // steps in a round: loops cost a CPU driver as much as ten of them
struct MacRatePush {
  u32 n_rounds;
};
CHECK_PUSH(MacRatePush, 4)
KL_STRUCTS_END
