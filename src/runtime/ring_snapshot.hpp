// A copy of the sliding layers' rings at one position. A ring forgets what is a window and a bit
// behind; with the snapshot a session can still go back to the end of its last prompt, which is
// where a chat client edits the history (thoughts dropped, an answer regenerated).
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.hpp"
#include "runtime/kv_cache.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"
#include "vk/recorder.hpp"

namespace kimberlite::runtime {

class RingSnapshot {
 public:
  /// Bytes that a snapshot of this cache takes; 0 where no ring can forget anything.
  [[nodiscard]] static uint64_t n_bytes(const KvCache& cache);

  /// Allocates the copy and records both directions. Errors: out_of_memory, device.
  static Result<std::unique_ptr<RingSnapshot>> make(vk::Device& device, const KvCache& cache);

  /// Keeps the rings as they are now, with `n_cached` valid positions of which none was written
  /// over, i.e. the newest position written is n_cached - 1.
  Status save(uint32_t n_cached);
  /// Puts them back. Positions from n_cached() on are not valid afterwards.
  Status restore();

  /// Valid positions of the saved rings; 0 = nothing is saved.
  [[nodiscard]] uint32_t n_cached() const { return n_cached_; }
  /// To be called when positions below n_cached() are about to be written with something else.
  void forget() { n_cached_ = 0; }

 private:
  explicit RingSnapshot(vk::Device& device) : device_(&device) {}
  Result<vk::CommandBuffer> record(const KvCache& cache, bool saving);
  Status run(const vk::CommandBuffer& commands);

  vk::Device* device_;  // Borrowed from the engine.
  vk::Arena arena_;
  std::vector<vk::BufferRange> copies_;  // K and V of each ring in turn
  vk::CommandBuffer save_;
  vk::CommandBuffer restore_;
  uint32_t n_cached_ = 0;
};

}  // namespace kimberlite::runtime
