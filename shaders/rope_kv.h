// Push constants of rope_kv.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct RopeKvPush {
  u32 n_heads;     // query heads
  u32 n_kv_heads;  // 0 with Q_ONLY
  u32 first_head;  // this dispatch starts here; query heads, then K heads, then V heads
  u32 n_pairs;     // rotating pairs of a head
  u32 n_rows;      // of a sequence in the cache
  u32 first_row;   // of the cache rows that are bound
  u32 n_bound;     // rows that are bound; others are left to another dispatch
  u32 segment_rows;  // WIDE_TABLE: of a segment, a multiple of 64; else 0
  f32 eps;
  // Where rows of q_raw, k_raw and v_raw lie in their tensors, in vec4: from one to the next, and
  // the first.
  u32 q_stride;
  u32 q_first;
  u32 k_stride;
  u32 k_first;
  u32 v_stride;
  u32 v_first;
};
CHECK_PUSH(RopeKvPush, 60)
KL_STRUCTS_END
