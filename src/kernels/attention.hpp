// Attention over the KV cache, for decode and for prefill. Shaders: attention.comp,
// attention_merge.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/kv_layout.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

/// More columns than this are one sequence's prefill.
inline constexpr uint32_t kMaxDecodeColumns = 8;

extern const graph::KernelDesc kAttention;         // decode in one pass over the keys
extern const graph::KernelDesc kAttentionMerged;   // decode, keys split over workgroups
extern const graph::KernelDesc kAttentionSplit;    // the same, the splits to be merged
extern const graph::KernelDesc kAttentionMerge;    // of the splits
extern const graph::KernelDesc kAttentionPrefill;  // more than kMaxDecodeColumns columns
extern const graph::KernelDesc kAttentionTable;    // the same for caches behind a table
extern const graph::KernelDesc kAttentionMergedTable;
extern const graph::KernelDesc kAttentionSplitTable;
extern const graph::KernelDesc kAttentionPrefillTable;

/// Which of them read a cache.
struct AttentionKernels {
  const graph::KernelDesc& decode;
  const graph::KernelDesc& merged;
  const graph::KernelDesc& split;  // and kAttentionMerge, where `merged` may not be used
  const graph::KernelDesc& prefill;
};
[[nodiscard]] AttentionKernels attention_kernels(const KvCacheView& cache);

/// How the work is cut for one layer on one device. Pure policy; what changes the result of a
/// column (everything but tile_heads and tile_columns) does not depend on the number of columns.
struct AttentionTiling {
  uint32_t tile_heads = 1;    // query heads of one KV head that share a key's load
  uint32_t tile_columns = 1;  // 1 in decode
  uint32_t n_splits = 1;      // of the keys, by chunk
  uint32_t n_lanes = 32;      // of a subgroup
  uint32_t n_keys = 4;        // whose loads are in flight together
  bool holds_queries = true;  // in registers
};
[[nodiscard]] AttentionTiling pick_attention_tiling(const vk::Caps& caps, const KvCacheView& cache,
                                                    uint32_t n_heads, uint32_t n_columns);

/// Whether a column sees a key at its own position. A drafter's does not: it writes none, and what
/// lies there is of an older text.
enum class OwnKey : uint8_t { seen, hidden };

/// y = softmax(q k^T) v for every column over the keys that its position sees; zero for inactive
/// columns and where there is none. q: f32, y: in either form, [n, n_heads * d]; columns:
/// u32 [n, 4]. The rows of the columns' own positions, where they are seen, are in the cache
/// already (add_rope_kv). With more than kMaxDecodeColumns columns they are consecutive positions
/// of one sequence, and inactive ones come last. Column i of a window cache needs position p_i -
/// window + 1 to be still there: window + n - 1 <= n_rows for consecutive positions. In a window
/// cache a column sees the positions behind its own too that Column::is_active says: all of them
/// columns of this pass.
void add_attention(graph::Graph& graph, const graph::Tensor& q, const graph::Tensor& columns,
                   const KvCacheView& cache, const ActivationRows& y, uint32_t n_heads,
                   std::string label, OwnKey own_key = OwnKey::seen);

}  // namespace kimberlite::kernels
