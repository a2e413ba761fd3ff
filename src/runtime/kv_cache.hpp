// The KV cache of one session: a ring for each sliding layer, every position for each full layer.
// The full layers' rows are all there from the start, or come in segments as they are needed.
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

/// The most rows that one prefill pass computes, unless a picture has more.
inline constexpr uint32_t kMaxPrefillRows = 256;

/// The most rows that a pass computes where pictures have up to so many tokens: a picture is never
/// split, because its tokens see each other.
[[nodiscard]] uint32_t largest_pass(uint32_t max_picture_tokens);

/// Positions that a ring holds beyond its window and one prefill pass: how far a session can be
/// rewound for free, and room for columns of passes in flight.
inline constexpr uint32_t kRingSlack = 64;

/// Rows of a sliding layer's ring: window + one prefill pass + slack, but never more than a cache
/// of every position would take. A multiple of kAttentionChunk.
[[nodiscard]] uint32_t ring_rows(uint32_t window, uint32_t context,
                                 uint32_t pass_rows = kMaxPrefillRows);

/// Bytes of all rings, and of all full layers for one position.
struct KvDemand {
  uint64_t fixed_bytes = 0;
  uint64_t position_bytes = 0;
};
[[nodiscard]] KvDemand kv_demand(const model::ModelConfig& config, kernels::KvType type,
                                 uint32_t pass_rows = kMaxPrefillRows);

/// Positions of one segment of the full layers. The 12B in f16: 64 MiB.
inline constexpr uint32_t kSegmentRows = 4096;

/// kSegmentRows, or 0 = no segments on a CPU driver: there the operating system commits memory when
/// it is touched, and texel buffers, which need a binding, are read 3 to 5 times faster. Pure.
[[nodiscard]] uint32_t pick_segment_rows(const vk::Caps& caps);

/// The longest context on this device: without segments each layer must fit one binding.
[[nodiscard]] uint32_t kv_context_limit(const model::ModelConfig& config, kernels::KvType type,
                                        const vk::Caps& caps, uint32_t segment_rows);

struct KvCacheOptions {
  uint32_t context = 0;
  kernels::KvType type = kernels::KvType::f16;
  uint32_t segment_rows = 0;  // 0: the full layers' rows are one allocation
  uint32_t pass_rows = kMaxPrefillRows;
};

class KvCache {
 public:
  /// Errors: out_of_memory, device.
  static Result<KvCache> make(vk::Device& device, const model::ModelConfig& config,
                              const KvCacheOptions& options);

  /// Makes room for positions below `n_positions` (at most the context) before a pass computes
  /// them: adds segments and their addresses; nothing is copied or recorded. What was there before
  /// an error stays. Errors: out_of_memory, with positions and bytes; device.
  Status commit(uint32_t n_positions);
  /// Positions that there is room for.
  [[nodiscard]] uint32_t n_committed() const { return n_committed_; }

  /// One for each layer of the model; layers that share K and V have equal views.
  [[nodiscard]] const std::vector<kernels::KvCacheView>& layers() const { return layers_; }
  /// Those of the layers with K and V of their own.
  [[nodiscard]] std::span<const kernels::KvCacheView> own_layers() const {
    return std::span(layers_).first(n_own_);
  }
  [[nodiscard]] uint64_t n_bytes() const { return arena_.n_bytes() + segments_.n_bytes(); }
  [[nodiscard]] uint32_t context() const { return context_; }

  /// Positions that stay valid when `n_written` positions have been written and the sequence is cut
  /// back to its first `n_kept`: n_kept, or 0 where a ring has lost keys that the next position
  /// would see.
  [[nodiscard]] uint32_t rewind(uint32_t n_kept, uint32_t n_written) const;

 private:
  Status make_tables();
  Status add_segment();
  /// Bytes of K (or of V) of each full layer for so many rows, K and V in turn.
  [[nodiscard]] std::vector<uint64_t> segment_bytes(uint32_t n_rows) const;
  [[nodiscard]] uint32_t next_rows() const;

  vk::Device* device_ = nullptr;  // Borrowed from the engine.
  vk::Arena arena_;               // rings, tables, and full layers without segments
  vk::Arena segments_;
  std::vector<vk::BufferRange> pending_;  // a segment whose addresses could not be written yet
  vk::BufferRange tables_;                // of all full layers, K and V in turn
  std::vector<uint64_t> contents_;        // what is in tables_
  uint64_t table_stride_ = 0;             // addresses from one table to the next
  std::vector<kernels::KvCacheView> layers_;
  size_t n_own_ = 0;  // the first so many have memory of their own
  uint32_t context_ = 0;
  uint32_t segment_rows_ = 0;
  uint32_t n_committed_ = 0;
};

/// The rule behind KvCache::rewind for one ring. Pure.
[[nodiscard]] bool ring_survives(uint32_t n_kept, uint32_t n_written, uint32_t window,
                                 uint32_t n_rows);

}  // namespace kimberlite::runtime
