// The KV cache of one layer as tensors: rows by position, one ring or full length for each
// sequence. Byte layout of a row: shaders/common/kv_cache.glsl.
#pragma once

#include <cstdint>

#include "graph/tensor.hpp"

namespace kimberlite::kernels {

/// Positions that attention handles as one unit, anchored at absolute multiples; the number of rows
/// of a sequence is a multiple of it, so that a chunk never wraps around a ring.
inline constexpr uint32_t kAttentionChunk = 64;

enum class KvType : uint8_t {
  f32,   // --precise
  f16,   // the default
  q8_0,  // int8 codes, one f16 scale for 32 values
};

/// One layer's cache. Row of position p of sequence s: s * n_rows + p % n_rows.
///
/// Either k and v hold the rows, or (segment_rows > 0, full layers alone) they are tables of the
/// addresses of segments that hold segment_rows rows each, so that memory can be added while what
/// was recorded stays as it is. The table stands for the rows: a kernel that writes rows declares
/// that it writes the table, and the barrier that this brings is one for all memory. An address is
/// read only for positions that columns name.
struct KvCacheView {
  graph::Tensor k{};  // wide [n_sequences * n_rows, kv_row_bytes / 16], or
                      // u32 [n_sequences * kv_segments, 2], lower half first
  graph::Tensor v{};  // the same shape
  KvType type = KvType::f16;
  uint32_t n_kv_heads = 1;
  uint32_t head_dim = 256;  // a multiple of 256
  uint32_t n_rows = 0;      // of a sequence: a ring, or every position; multiple of kAttentionChunk
  uint32_t n_sequences = 1;
  uint32_t window = 0;  // key j is visible to position p iff p - window < j <= p; 0 = every j <= p
  uint32_t segment_rows = 0;  // 0 = no table; else a multiple of kAttentionChunk

  [[nodiscard]] bool has_table() const { return segment_rows != 0; }
};

/// Bytes of one head in one row; a multiple of 16.
[[nodiscard]] uint32_t kv_head_bytes(KvType type, uint32_t head_dim);
/// Bytes of one row of K (or of V).
[[nodiscard]] uint64_t kv_row_bytes(KvType type, uint32_t n_kv_heads, uint32_t head_dim);

/// The most rows (all sequences together, a multiple of kAttentionChunk) that a layer's K or V may
/// have on this device without a table: it is read through one wide binding and within
/// Caps::max_loop_rounds. Writers bind a part of it at a time, so Caps::max_storage_range_bytes
/// does not limit it where reads go through texel buffers.
[[nodiscard]] uint32_t kv_max_rows(const vk::Caps& caps, KvType type, uint32_t n_kv_heads,
                                   uint32_t head_dim);

/// Segments of one sequence; the last one may be shorter. 0 without a table.
[[nodiscard]] uint32_t kv_segments(const KvCacheView& cache);

/// The type and shape that both tensors of the view must have.
[[nodiscard]] graph::DType kv_dtype(const KvCacheView& cache);
[[nodiscard]] graph::Shape kv_shape(const KvCacheView& cache);

/// Aborts where the view contradicts itself.
void check_kv_cache(const KvCacheView& cache);

}  // namespace kimberlite::kernels
