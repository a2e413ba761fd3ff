// Token pieces and their ids: all strings in one block, found through an open-addressing table.
// A quarter of a million std::string keys would cost more to build than the file takes to read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kimberlite::text {

/// "No such token", for ids that a vocabulary may lack.
inline constexpr int32_t kNoToken = -1;

/// Immutable after building; then safe to read from any thread.
class PieceTable {
 public:
  void reserve(size_t n_pieces, size_t n_bytes);

  /// Gives `piece` the next id. Where an equal piece exists, the older id stays the one found: some
  /// official files name three tokens twice.
  int32_t add(std::string_view piece);

  /// The id of `piece`, added where missing.
  int32_t intern(std::string_view piece);

  /// The first id of `piece`, or kNoToken.
  [[nodiscard]] int32_t find(std::string_view piece) const;

  /// find() for a few dozen pieces at once, whose cache misses then overlap: loading a vocabulary
  /// is a million and a half look-ups in 8 MiB, and takes half the time this way. `ids` is as
  /// long as `pieces`.
  void find_all(std::span<const std::string_view> pieces, std::span<int32_t> ids) const;

  /// `id` in [0, size()).
  [[nodiscard]] std::string_view operator[](int32_t id) const;

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(ends_.size()); }

 private:
  struct Slot {
    uint32_t tag = 0;  // the hash's upper half: most mismatches end here, without a string compare
    int32_t id = kNoToken;
  };

  size_t find_slot(std::string_view piece, uint64_t hash) const;
  int32_t append(std::string_view piece);
  void grow(size_t n_slots);

  std::string bytes_;
  std::vector<size_t> ends_;  // piece i is bytes_[ends_[i - 1], ends_[i])
  std::vector<Slot> slots_;   // a power of two, at most half full
  size_t n_used_ = 0;
};

}  // namespace kimberlite::text
