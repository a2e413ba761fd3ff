// The table of token pieces: linear probing over (hash tag, id), the strings compared in the block.
#include "text/piece_table.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace kimberlite::text {
namespace {

constexpr size_t kMinSlots = 64;

uint64_t mix(uint64_t x) {
  x *= 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  return x ^ (x >> 29);
}

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t hash = mix(bytes.size());
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t n_bytes = std::min(bytes.size(), sizeof(word));
    std::memcpy(&word, bytes.data(), n_bytes);
    hash = mix(hash ^ word) + (hash >> 32);
    bytes.remove_prefix(n_bytes);
  }
  return mix(hash);
}

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

void PieceTable::reserve(size_t n_pieces, size_t n_bytes) {
  bytes_.reserve(n_bytes);
  ends_.reserve(n_pieces);
  const size_t n_slots = std::max(kMinSlots, std::bit_ceil(2 * n_pieces));
  if (n_slots > slots_.size()) grow(n_slots);
}

int32_t PieceTable::add(std::string_view piece) {
  if (2 * (n_used_ + 1) > slots_.size()) grow(std::max(kMinSlots, 2 * slots_.size()));
  const uint64_t hash = hash_bytes(piece);
  const size_t slot = find_slot(piece, hash);
  const int32_t id = append(piece);
  if (slots_[slot].id == kNoToken) {
    slots_[slot] = {tag_of(hash), id};
    ++n_used_;
  }
  return id;
}

int32_t PieceTable::intern(std::string_view piece) {
  const int32_t id = find(piece);
  return id != kNoToken ? id : add(piece);
}

int32_t PieceTable::find(std::string_view piece) const {
  if (slots_.empty()) return kNoToken;
  return slots_[find_slot(piece, hash_bytes(piece))].id;
}

void PieceTable::find_all(std::span<const std::string_view> pieces, std::span<int32_t> ids) const {
  std::fill(ids.begin(), ids.end(), kNoToken);
  if (slots_.empty()) return;
  constexpr size_t kBlock = 64;
  std::array<uint64_t, kBlock> hashes{};
  const size_t mask = slots_.size() - 1;
  for (size_t begin = 0; begin < pieces.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, pieces.size() - begin);
    // Each step asks for the memory that the next one reads: the slot, where the piece lies, the
    // piece itself.
    for (size_t i = 0; i < n; ++i) {
      hashes[i] = hash_bytes(pieces[begin + i]);
      __builtin_prefetch(&slots_[hashes[i] & mask]);
    }
    for (size_t i = 0; i < n; ++i) {
      const int32_t id = slots_[hashes[i] & mask].id;
      if (id != kNoToken) __builtin_prefetch(&ends_[static_cast<size_t>(id)]);
    }
    for (size_t i = 0; i < n; ++i) {
      const int32_t id = slots_[hashes[i] & mask].id;
      if (id != kNoToken) __builtin_prefetch(bytes_.data() + ends_[static_cast<size_t>(id)]);
    }
    for (size_t i = 0; i < n; ++i) {
      ids[begin + i] = slots_[find_slot(pieces[begin + i], hashes[i])].id;
    }
  }
}

std::string_view PieceTable::operator[](int32_t id) const {
  const auto i = static_cast<size_t>(id);
  const size_t begin = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(bytes_).substr(begin, ends_[i] - begin);
}

// The slot that holds `piece`, or the empty one where it belongs.
size_t PieceTable::find_slot(std::string_view piece, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  while (slots_[i].id != kNoToken &&
         (slots_[i].tag != tag_of(hash) || (*this)[slots_[i].id] != piece)) {
    i = (i + 1) & mask;
  }
  return i;
}

int32_t PieceTable::append(std::string_view piece) {
  bytes_.append(piece);
  ends_.push_back(bytes_.size());
  return size() - 1;
}

void PieceTable::grow(size_t n_slots) {
  std::vector<Slot> old(n_slots);
  old.swap(slots_);
  const size_t mask = n_slots - 1;
  for (const Slot& slot : old) {
    if (slot.id == kNoToken) continue;
    size_t i = hash_bytes((*this)[slot.id]) & mask;
    while (slots_[i].id != kNoToken) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

}  // namespace kimberlite::text
