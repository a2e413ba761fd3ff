#include "runtime/kv_cache.hpp"

#include <algorithm>

#include "base/numeric.hpp"

namespace kimberlite::runtime {
namespace {

using kernels::kAttentionChunk;

uint32_t full_rows(uint32_t context) { return align_up(context, kAttentionChunk); }

}  // namespace

uint32_t ring_rows(uint32_t window, uint32_t context) {
  return std::min(align_up(window + kMaxPrefillRows + kRingSlack, kAttentionChunk),
                  full_rows(context));
}

KvDemand kv_demand(const model::ModelConfig& config, kernels::KvType type) {
  KvDemand demand;
  for (uint32_t i = 0; i < config.n_kv_layers; ++i) {
    const model::LayerConfig& layer = config.layers[i];
    const uint64_t row_bytes = 2 * kernels::kv_row_bytes(type, layer.n_kv_heads, layer.head_dim);
    if (layer.kind == model::LayerKind::sliding) {
      demand.fixed_bytes += row_bytes * ring_rows(config.window, config.max_context);
    } else {
      demand.position_bytes += row_bytes;
    }
  }
  return demand;
}

uint32_t kv_context_limit(const model::ModelConfig& config, kernels::KvType type,
                          const vk::Caps& caps) {
  uint32_t limit = config.max_context;
  for (const model::LayerConfig& layer : config.layers) {
    if (layer.kind == model::LayerKind::sliding) continue;
    limit = std::min(limit, kernels::kv_max_rows(caps, type, layer.n_kv_heads, layer.head_dim));
  }
  return limit;
}

Result<KvCache> KvCache::make(vk::Device& device, const model::ModelConfig& config,
                              uint32_t context, kernels::KvType type) {
  KvCache cache;
  cache.context_ = context;
  cache.arena_ = vk::Arena(device, vk::MemoryKind::device, "KV cache");
  std::vector<uint64_t> sizes;
  for (uint32_t i = 0; i < config.n_kv_layers; ++i) {
    const model::LayerConfig& layer = config.layers[i];
    const bool sliding = layer.kind == model::LayerKind::sliding;
    kernels::KvCacheView view;
    view.type = type;
    view.n_kv_heads = layer.n_kv_heads;
    view.head_dim = layer.head_dim;
    view.n_rows = sliding ? ring_rows(config.window, context) : full_rows(context);
    // Where the ring holds the whole context, a longer window sees no more than the ring.
    view.window = sliding ? std::min(config.window, view.n_rows) : 0;
    cache.layers_.push_back(view);
    const uint64_t n_bytes =
        kernels::kv_row_bytes(type, layer.n_kv_heads, layer.head_dim) * view.n_rows;
    sizes.insert(sizes.end(), {n_bytes, n_bytes});
  }
  KL_ASSIGN(const std::vector<vk::BufferRange> ranges, cache.arena_.allocate(sizes));
  for (size_t i = 0; i < cache.layers_.size(); ++i) {
    kernels::KvCacheView& view = cache.layers_[i];
    view.k = graph::Tensor::of(ranges[2 * i], graph::DType::wide, kernels::kv_shape(view));
    view.v = graph::Tensor::of(ranges[2 * i + 1], graph::DType::wide, kernels::kv_shape(view));
  }
  cache.n_own_ = cache.layers_.size();
  for (uint32_t i = config.n_kv_layers; i < config.n_layers; ++i) {
    cache.layers_.push_back(cache.layers_[config.layers[i].kv_layer]);
  }
  return cache;
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
