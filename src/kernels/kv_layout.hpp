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
struct KvCacheView {
  graph::Tensor k{};  // wide [n_sequences * n_rows, kv_row_bytes / 16]
  graph::Tensor v{};  // the same shape
  KvType type = KvType::f16;
  uint32_t n_kv_heads = 1;
  uint32_t head_dim = 256;  // a multiple of 256
  uint32_t n_rows = 0;      // of a sequence: a ring, or every position; multiple of kAttentionChunk
  uint32_t n_sequences = 1;
  uint32_t window = 0;  // key j is visible to position p iff p - window < j <= p; 0 = every j <= p
};

/// Bytes of one head in one row; a multiple of 16.
[[nodiscard]] uint32_t kv_head_bytes(KvType type, uint32_t head_dim);
/// Bytes of one row of K (or of V).
[[nodiscard]] uint64_t kv_row_bytes(KvType type, uint32_t n_kv_heads, uint32_t head_dim);

/// The most rows (all sequences together, a multiple of kAttentionChunk) that a layer's K or V may
/// have on this device: it is read through one wide binding. Writers bind a part of it at a time,
/// so Caps::max_storage_range_bytes does not limit it where reads go through texel buffers.
[[nodiscard]] uint32_t kv_max_rows(const vk::Caps& caps, KvType type, uint32_t n_kv_heads,
                                   uint32_t head_dim);

/// The shape that both tensors of the view must have.
[[nodiscard]] graph::Shape kv_shape(const KvCacheView& cache);

/// Aborts where the view contradicts itself.
void check_kv_cache(const KvCacheView& cache);

}  // namespace kimberlite::kernels
