// Push constants of attention.comp and attention_merge.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
struct AttentionPush {
  u32 n_columns;
  u32 n_heads;
  u32 n_kv_heads;
  u32 n_splits;  // chunk c belongs to split c % n_splits
  u32 n_rows;    // of a sequence in the cache
  u32 window;    // keys that a position sees, itself included; n_rows where attention is full
  u32 segment_rows;  // WIDE_TABLE: of a segment, a multiple of 64; else 0
  u32 n_own;     // keys at a column's own position that it sees: 1, or 0 where none is written
  u32 sees_ahead;  // 1: and those behind it that Column::is_active says; else 0
};
CHECK_PUSH(AttentionPush, 36)

struct AttentionMergePush {
  u32 head_vecs;  // head_dim / 4
  u32 n_splits;
};
CHECK_PUSH(AttentionMergePush, 8)
KL_STRUCTS_END
