// Byte-pair merging with a priority queue over a linked list of symbols.
#include "text/bpe.hpp"

#include <algorithm>
#include <bit>
#include <functional>

namespace kimberlite::text {
namespace {

constexpr Merge kNoMerge;

uint64_t pack(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// murmur3's finaliser: neighbouring ids must not become neighbouring slots.
uint64_t hash_key(uint64_t key) {
  key ^= key >> 33;
  key *= 0xFF51AFD7ED558CCDu;
  key ^= key >> 33;
  key *= 0xC4CEB9FE1A85EC53u;
  return key ^ (key >> 33);
}

// Queue entries order by rank, then by place in the text.
uint64_t pack_entry(uint32_t rank, size_t index) {
  return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(index);
}

// Looks up the merge of symbol `index` with its right neighbour; true where there is one.
bool link_merge(const MergeTable& merges, std::vector<Symbol>& symbols, size_t index) {
  Symbol& left = symbols[index];
  left.rank = kNoRank;
  if (left.next < 0) return false;
  const Merge& merge = merges.find(left.id, symbols[static_cast<size_t>(left.next)].id);
  left.rank = merge.rank;
  left.merged = merge.merged;
  return merge.rank != kNoRank;
}

}  // namespace

void MergeTable::reserve(size_t n_merges) {
  slots_.assign(std::bit_ceil(std::max<size_t>(2 * n_merges, 2)), Merge{});
}

void MergeTable::add(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  const uint64_t key = pack(left, right);
  const size_t mask = slots_.size() - 1;
  size_t i = hash_key(key) & mask;
  while (slots_[i].rank != kNoRank && slots_[i].key != key) i = (i + 1) & mask;
  if (slots_[i].rank == kNoRank) slots_[i] = {key, rank, merged};
}

void MergeTable::prefetch(int32_t left, int32_t right) const {
  __builtin_prefetch(&slots_[hash_key(pack(left, right)) & (slots_.size() - 1)]);
}

const Merge& MergeTable::find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0 || slots_.empty()) return kNoMerge;
  const uint64_t key = pack(left, right);
  const size_t mask = slots_.size() - 1;
  size_t i = hash_key(key) & mask;
  while (slots_[i].rank != kNoRank && slots_[i].key != key) i = (i + 1) & mask;
  return slots_[i];
}

void merge_symbols(const MergeTable& merges, std::vector<Symbol>& symbols, MergeQueue& queue) {
  queue.clear();
  const size_t n_symbols = symbols.size();
  for (size_t i = 0; i < n_symbols; ++i) {
    symbols[i].prev = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < n_symbols ? static_cast<int32_t>(i + 1) : -1;
    if (link_merge(merges, symbols, i)) queue.push_back(pack_entry(symbols[i].rank, i));
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto push = [&](size_t index) {
    if (!link_merge(merges, symbols, index)) return;
    queue.push_back(pack_entry(symbols[index].rank, index));
    std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };
  while (!queue.empty()) {
    const uint64_t entry = queue.front();
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    queue.pop_back();
    const size_t index = static_cast<uint32_t>(entry);
    Symbol& left = symbols[index];
    // An entry is stale where its left or right symbol has been merged since. Ranks are unique to a
    // pair, so an equal rank means that the same merge is possible here now.
    if (left.rank != static_cast<uint32_t>(entry >> 32)) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.id = left.merged;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].prev = right.prev;
    right.rank = kNoRank;
    push(index);
    if (left.prev >= 0) push(static_cast<size_t>(left.prev));
  }
}

}  // namespace kimberlite::text
