// Columns: what one pass over the model computes, in device memory, so that a recorded executable
// serves every token. A column is (token, position, sequence).
#ifndef KL_COLUMNS_H
#define KL_COLUMNS_H
#include "types.h"
KL_STRUCTS_BEGIN
struct Column {
  u32 token;      // id in the vocabulary
  u32 position;   // absolute, from 0
  u32 sequence;   // which conversation's KV cache and state
  u32 is_active;  // 0: padding; computes something finite, writes nothing that lasts. Else 1 + how
                  // many positions behind its own it sees in windows: the rest of a picture
};
KL_STRUCTS_END
#endif
