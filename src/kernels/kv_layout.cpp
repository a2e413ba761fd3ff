#include "kernels/kv_layout.hpp"

#include <algorithm>

#include "base/numeric.hpp"
#include "vk/caps.hpp"

namespace kimberlite::kernels {

uint32_t kv_head_bytes(KvType type, uint32_t head_dim) {
  switch (type) {
    case KvType::f32:
      return head_dim * 4;
    case KvType::f16:
      return head_dim * 2;
    case KvType::q8_0:
      return head_dim + head_dim / 32 * 2;
  }
  KL_CHECK(false, "a KV type without a layout");
}

uint64_t kv_row_bytes(KvType type, uint32_t n_kv_heads, uint32_t head_dim) {
  return uint64_t{n_kv_heads} * kv_head_bytes(type, head_dim);
}

uint32_t kv_max_rows(const vk::Caps& caps, KvType type, uint32_t n_kv_heads, uint32_t head_dim) {
  const uint64_t rows = caps.max_wide_bytes() / kv_row_bytes(type, n_kv_heads, head_dim);
  // One subgroup may walk over all chunks: common/attention_tile.glsl says what a chunk costs.
  const uint32_t chunk_rounds = 2 + kAttentionChunk / std::min(caps.subgroup_size, kAttentionChunk);
  // And merge the splits of a tile: up to 4 heads and, on a CPU driver, 8 splits, gone through
  // twice.
  const uint32_t merge_rounds =
      4 * div_up(head_dim / 4, caps.subgroup_size) * (2 * (8 + 1) + 1) + 1;
  const uint64_t n_chunks = std::min<uint64_t>(
      rows / kAttentionChunk, (caps.max_loop_rounds - 1 - merge_rounds) / chunk_rounds);
  return static_cast<uint32_t>(std::min(n_chunks * kAttentionChunk, uint64_t{1} << 30));
}

uint32_t kv_segments(const KvCacheView& cache) {
  return cache.has_table() ? div_up(cache.n_rows, cache.segment_rows) : 0;
}

graph::DType kv_dtype(const KvCacheView& cache) {
  return cache.has_table() ? graph::DType::u32 : graph::DType::wide;
}

graph::Shape kv_shape(const KvCacheView& cache) {
  if (cache.has_table()) return {uint64_t{cache.n_sequences} * kv_segments(cache), 2};
  return {uint64_t{cache.n_sequences} * cache.n_rows,
          kv_row_bytes(cache.type, cache.n_kv_heads, cache.head_dim) / 16};
}

void check_kv_cache(const KvCacheView& cache) {
  KL_CHECK(cache.head_dim % 256 == 0, "a head of a multiple of 256");
  KL_CHECK(cache.n_kv_heads > 0 && cache.n_sequences > 0, "a cache without heads or sequences");
  KL_CHECK(cache.n_rows > 0 && cache.n_rows % kAttentionChunk == 0, "rows in whole chunks");
  KL_CHECK(cache.window <= cache.n_rows, "a window longer than its ring");
  KL_CHECK(!cache.has_table() || cache.window == 0, "a ring behind a table");
  KL_CHECK(cache.segment_rows % kAttentionChunk == 0, "segments of whole chunks");
  const graph::DType dtype = kv_dtype(cache);
  const graph::Shape shape = kv_shape(cache);
  for (const graph::Tensor* tensor : {&cache.k, &cache.v}) {
    KL_CHECK(tensor->dtype == dtype && tensor->shape == shape, "a cache tensor of another shape");
  }
}

}  // namespace kimberlite::kernels
