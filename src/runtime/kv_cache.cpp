#include "runtime/kv_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/numeric.hpp"

namespace kimberlite::runtime {
namespace {

using kernels::kAttentionChunk;

uint32_t full_rows(uint32_t context) { return align_up(context, kAttentionChunk); }

/// Of K, or of V.
uint64_t row_bytes(const kernels::KvCacheView& view) {
  return kernels::kv_row_bytes(view.type, view.n_kv_heads, view.head_dim);
}

}  // namespace

uint32_t largest_pass(uint32_t max_picture_tokens) {
  return std::max(kMaxPrefillRows, align_up(max_picture_tokens, kAttentionChunk));
}

uint32_t ring_rows(uint32_t window, uint32_t context, uint32_t pass_rows) {
  return std::min(align_up(window + pass_rows + kRingSlack, kAttentionChunk), full_rows(context));
}

KvDemand kv_demand(const model::ModelConfig& config, kernels::KvType type, uint32_t pass_rows) {
  KvDemand demand;
  for (const model::LayerConfig& layer : config.kv_layers()) {
    const uint64_t row_bytes = 2 * kernels::kv_row_bytes(type, layer.n_kv_heads, layer.head_dim);
    if (layer.kind == model::LayerKind::sliding) {
      demand.fixed_bytes += row_bytes * ring_rows(config.window, config.max_context, pass_rows);
    } else {
      demand.position_bytes += row_bytes;
    }
  }
  return demand;
}

uint32_t pick_segment_rows(const vk::Caps& caps) { return caps.is_cpu ? 0 : kSegmentRows; }

uint32_t kv_context_limit(const model::ModelConfig& config, kernels::KvType type,
                          const vk::Caps& caps, uint32_t segment_rows) {
  uint32_t limit = config.max_context;
  for (const model::LayerConfig& layer : config.kv_layers()) {
    if (layer.kind == model::LayerKind::sliding || segment_rows != 0) continue;
    limit = std::min(limit, kernels::kv_max_rows(caps, type, layer.n_kv_heads, layer.head_dim));
  }
  return limit;
}

Result<KvCache> KvCache::make(vk::Device& device, const model::ModelConfig& config,
                              const KvCacheOptions& options) {
  KvCache cache;
  cache.device_ = &device;
  cache.context_ = options.context;
  cache.segment_rows_ = options.segment_rows;
  cache.n_committed_ = options.segment_rows == 0 ? options.context : 0;
  cache.arena_ = vk::Arena(device, vk::MemoryKind::device, "KV cache");
  cache.segments_ = vk::Arena(device, vk::MemoryKind::device, "KV cache segment");
  std::vector<uint64_t> sizes;
  for (const model::LayerConfig& layer : config.kv_layers()) {
    const bool sliding = layer.kind == model::LayerKind::sliding;
    kernels::KvCacheView view;
    view.type = options.type;
    view.n_kv_heads = layer.n_kv_heads;
    view.head_dim = layer.head_dim;
    view.n_rows = sliding ? ring_rows(config.window, options.context, options.pass_rows)
                          : full_rows(options.context);
    // Where the ring holds the whole context, a longer window sees no more than the ring.
    view.window = sliding ? std::min(config.window, view.n_rows) : 0;
    view.segment_rows = sliding ? 0 : options.segment_rows;
    cache.layers_.push_back(view);
    if (!view.has_table()) sizes.insert(sizes.end(), 2, row_bytes(view) * view.n_rows);
  }
  KL_ASSIGN(const std::vector<vk::BufferRange> ranges, cache.arena_.allocate(sizes));
  auto range = ranges.begin();
  for (kernels::KvCacheView& view : cache.layers_) {
    if (view.has_table()) continue;
    view.k = graph::Tensor::of(*range++, kernels::kv_dtype(view), kernels::kv_shape(view));
    view.v = graph::Tensor::of(*range++, kernels::kv_dtype(view), kernels::kv_shape(view));
  }
  cache.n_own_ = cache.layers_.size();
  KL_TRY(cache.make_tables());
  for (uint32_t i = config.n_kv_layers; i < config.n_layers; ++i) {
    cache.layers_.push_back(cache.layers_[config.layers[i].kv_layer]);
  }
  return cache;
}

/// In device memory: every workgroup looks into them, and once in thousands of tokens the host adds
/// a line.
Status KvCache::make_tables() {
  uint64_t n_tables = 0;
  uint64_t n_bytes = 0;  // of one table
  for (const kernels::KvCacheView& view : own_layers()) {
    if (!view.has_table()) continue;
    n_tables += 2;
    n_bytes = kernels::kv_segments(view) * sizeof(uint64_t);
  }
  if (n_tables == 0) return {};
  const uint64_t stride = align_up<uint64_t>(n_bytes, device_->caps().storage_alignment);
  table_stride_ = stride / sizeof(uint64_t);
  contents_.assign(n_tables * table_stride_, 0);
  KL_ASSIGN(const std::vector<vk::BufferRange> ranges, arena_.allocate({n_tables * stride}));
  tables_ = ranges.front();
  uint64_t offset = tables_.offset_bytes;
  for (kernels::KvCacheView& view : layers_) {
    if (!view.has_table()) continue;
    for (graph::Tensor* table : {&view.k, &view.v}) {
      *table = graph::Tensor::of({tables_.buffer, offset, n_bytes}, kernels::kv_dtype(view),
                                 kernels::kv_shape(view));
      offset += stride;
    }
  }
  return {};
}

std::vector<uint64_t> KvCache::segment_bytes(uint32_t n_rows) const {
  std::vector<uint64_t> sizes;
  for (const kernels::KvCacheView& view : own_layers()) {
    if (view.has_table()) sizes.insert(sizes.end(), 2, row_bytes(view) * n_rows);
  }
  return sizes;
}

/// Of the next segment; the last one ends with the context, so that no more is taken than planned.
uint32_t KvCache::next_rows() const {
  return std::min(segment_rows_, full_rows(context_) - n_committed_);
}

Status KvCache::add_segment() {
  const uint32_t segment = n_committed_ / segment_rows_;
  const uint32_t n_rows = next_rows();
  if (pending_.empty()) {
    KL_ASSIGN(pending_, segments_.allocate(segment_bytes(n_rows)));
  }
  for (size_t i = 0; i < pending_.size(); ++i) {
    contents_[i * table_stride_ + segment] = pending_[i].address();
  }
  KL_TRY(vk::write_range(*device_, tables_, contents_.data(), tables_.n_bytes));
  pending_.clear();
  n_committed_ = std::min(n_committed_ + n_rows, context_);
  device_->count_growth();
  return {};
}

Status KvCache::commit(uint32_t n_positions) {
  const uint32_t wanted = std::min(n_positions, context_);
  while (n_committed_ < wanted) {
    const Status added = add_segment();
    if (added.ok()) continue;
    if (added.error().code != ErrorCode::out_of_memory) return added.error();
    const std::vector<uint64_t> sizes = segment_bytes(next_rows());
    return Error{ErrorCode::out_of_memory,
                 fmt::format("the KV cache has room for {} positions, {} are needed; the next {} "
                             "take {} bytes, the device has {} free ({})",
                             n_committed_, wanted, next_rows(),
                             std::accumulate(sizes.begin(), sizes.end(), uint64_t{0}),
                             device_->free_bytes(), added.error().message)};
  }
  return {};
}

bool ring_survives(uint32_t n_kept, uint32_t n_written, uint32_t window, uint32_t n_rows) {
  // The next position is n_kept; it sees keys from here on.
  const uint32_t first_seen = n_kept + 1 > window ? n_kept + 1 - window : 0;
  // Row r holds the last position written to it: the newest n_rows positions are intact.
  const uint32_t first_intact = n_written > n_rows ? n_written - n_rows : 0;
  return first_seen >= first_intact || first_seen >= n_kept;
}

uint32_t KvCache::rewind(uint32_t n_kept, uint32_t n_written) const {
  for (const kernels::KvCacheView& layer : layers_) {
    if (layer.window != 0 && !ring_survives(n_kept, n_written, layer.window, layer.n_rows)) {
      return 0;
    }
  }
  return n_kept;
}

}  // namespace kimberlite::runtime
