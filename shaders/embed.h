// Push constants of embed.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct EmbedPush {
  u32 n_steps;      // of a row, as packed
  u32 width;        // elements of a row
  u32 vocab_size;   // tokens from here on count as token 0
  u32 first_token;  // of this shard
  u32 n_tokens;     // of this shard
  f32 scale;
};
CHECK_PUSH(EmbedPush, 24)
KL_STRUCTS_END
