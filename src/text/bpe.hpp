// Byte-pair merging: the table of merges and the loop that applies them in rank order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kimberlite::text {

inline constexpr uint32_t kNoRank = UINT32_MAX;

/// Two neighbouring pieces that become one. The lowest rank in a text goes first.
struct Merge {
  uint64_t key = UINT64_MAX;  // left id in the upper half, right id in the lower
  uint32_t rank = kNoRank;
  int32_t merged = -1;
};

/// (left id, right id) -> Merge, open addressing. Immutable after building.
class MergeTable {
 public:
  void reserve(size_t n_merges);
  /// A pair that is there already keeps its lower rank. Call with ascending ranks.
  void add(int32_t left, int32_t right, uint32_t rank, int32_t merged);
  /// Asks for the memory that add() and find() of this pair will read.
  void prefetch(int32_t left, int32_t right) const;
  /// An entry of rank kNoRank where the two do not merge; ids may be negative (they never merge).
  [[nodiscard]] const Merge& find(int32_t left, int32_t right) const;

 private:
  std::vector<Merge> slots_;  // a power of two, at most half full; empty slots have rank kNoRank
};

/// A run of text that is one piece for now, linked to its neighbours by index.
struct Symbol {
  int32_t id;          // negative: not a piece
  uint32_t begin;      // first byte in the text
  int32_t prev, next;  // -1 at the ends
  uint32_t rank;       // of the merge with `next`; kNoRank: none
  int32_t merged;      // the piece that this merge makes
};

/// Working memory of merge_symbols, reused between calls.
using MergeQueue = std::vector<uint64_t>;

/// Merges until nothing merges: lowest rank first, ties leftmost, O(n log n) for n symbols. On
/// entry `symbols` is in text order with id and begin set; on return the list from symbols[0] along
/// `next` is the result.
void merge_symbols(const MergeTable& merges, std::vector<Symbol>& symbols, MergeQueue& queue);

}  // namespace kimberlite::text
