// The KV cache of one session: a ring for each sliding layer, every position for each full layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels/kv_layout.hpp"
#include "model/config.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

/// The most rows that one prefill pass computes.
inline constexpr uint32_t kMaxPrefillRows = 256;

/// Positions that a ring holds beyond its window and one prefill pass: how far a session can be
/// rewound for free, and room for columns of passes in flight.
inline constexpr uint32_t kRingSlack = 64;

/// Rows of a sliding layer's ring: window + one prefill pass + slack, but never more than a cache
/// of every position would take. A multiple of kAttentionChunk.
[[nodiscard]] uint32_t ring_rows(uint32_t window, uint32_t context);

/// Bytes of all rings, and of all full layers for one position.
struct KvDemand {
  uint64_t fixed_bytes = 0;
  uint64_t position_bytes = 0;
};
[[nodiscard]] KvDemand kv_demand(const model::ModelConfig& config, kernels::KvType type);

/// The longest context whose layers each fit one binding of the device.
[[nodiscard]] uint32_t kv_context_limit(const model::ModelConfig& config, kernels::KvType type,
                                        const vk::Caps& caps);

class KvCache {
 public:
  /// Errors: out_of_memory, device.
  static Result<KvCache> make(vk::Device& device, const model::ModelConfig& config,
                              uint32_t context, kernels::KvType type);

  /// One for each layer of the model; layers that share K and V have equal views.
  [[nodiscard]] const std::vector<kernels::KvCacheView>& layers() const { return layers_; }
  /// Those of the layers with K and V of their own.
  [[nodiscard]] std::span<const kernels::KvCacheView> own_layers() const {
    return std::span(layers_).first(n_own_);
  }
  [[nodiscard]] uint64_t n_bytes() const { return arena_.n_bytes(); }
  [[nodiscard]] uint32_t context() const { return context_; }

  /// Positions that stay valid when `n_written` positions have been written and the sequence is cut
  /// back to its first `n_kept`: n_kept, or 0 where a ring has lost keys that the next position
  /// would see.
  [[nodiscard]] uint32_t rewind(uint32_t n_kept, uint32_t n_written) const;

 private:
  vk::Arena arena_;
  std::vector<kernels::KvCacheView> layers_;
  size_t n_own_ = 0;  // the first so many have memory of their own
  uint32_t context_ = 0;
};

/// The rule behind KvCache::rewind for one ring. Pure.
[[nodiscard]] bool ring_survives(uint32_t n_kept, uint32_t n_written, uint32_t window,
                                 uint32_t n_rows);

}  // namespace kimberlite::runtime
