// Copies of what the sliding layers' windows see at a few positions. A ring forgets what is a
// window and a bit behind; with a snapshot a session can still go back to where a prompt, an answer
// or an edit began: the places where chat clients change the history.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "runtime/kv_cache.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

/// A snapshot at most this far below serves as well: the rest is recomputed in one short pass.
/// Keeps short turns, and loops that add token by token, from pushing the others out.
inline constexpr uint32_t kSnapshotSpacing = 64;
inline constexpr uint32_t kMaxSnapshots = 16;

/// Bytes of one snapshot; 0 where no ring can forget anything.
[[nodiscard]] uint64_t snapshot_bytes(const model::ModelConfig& config, uint32_t context,
                                      kernels::KvType type, uint32_t pass_rows = kMaxPrefillRows);

class RingSnapshots {
 public:
  /// As many as `budget_bytes` hold, at most kMaxSnapshots; each takes its memory when it is first
  /// saved. `cache` must outlive them.
  RingSnapshots(vk::Device& device, const KvCache& cache, uint64_t budget_bytes);

  /// Keeps what position n_cached sees, in place of the oldest where there is no room for another;
  /// nothing where a snapshot, or position 0, is less than kSnapshotSpacing below. No room at all
  /// costs time later and is no error. Errors: device.
  Status save(uint32_t n_cached);

  /// Drops those of more than `n_kept` positions, which are about to be written with something
  /// else.
  void forget_after(uint32_t n_kept);

  /// The most positions, at most `limit`, that can be restored; 0: none.
  [[nodiscard]] uint32_t find(uint32_t limit) const;

  /// Puts the rings back to the `n_cached` positions of a snapshot that find() has named. Returns
  /// the positions written, for KvCache::rewind: as many as would have left intact what was saved
  /// and nothing before.
  Result<uint32_t> restore(uint32_t n_cached);

  [[nodiscard]] size_t size() const;

 private:
  struct Slot {
    vk::Arena arena;
    std::vector<vk::BufferRange> copies;  // K and V of each ring in turn
    uint32_t n_cached = 0;                // 0: free
    uint64_t age = 0;                     // number of the save
  };
  Result<Slot*> pick_slot();
  Status copy(const Slot& slot, uint32_t n_cached, bool saving);

  vk::Device* device_;                       // Borrowed from the engine.
  std::vector<kernels::KvCacheView> rings_;  // Borrowed tensors: those that can forget.
  size_t max_slots_ = 0;
  std::vector<Slot> slots_;
  uint64_t n_saves_ = 0;
};

}  // namespace kimberlite::runtime
