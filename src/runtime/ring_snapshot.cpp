#include "runtime/ring_snapshot.hpp"

#include <algorithm>

#include "base/numeric.hpp"
#include "vk/recorder.hpp"

namespace kimberlite::runtime {
namespace {

using kernels::kAttentionChunk;
using kernels::KvCacheView;

/// Chunks that the window - 1 positions before any position touch.
uint32_t seen_chunks(uint32_t window, uint32_t n_rows) {
  const uint32_t n = window > 1 ? 1 + div_up(window - 2, kAttentionChunk) : 1;
  return std::min(n, n_rows / kAttentionChunk);
}

/// Of K, or of V.
uint64_t chunk_bytes(const KvCacheView& view) {
  return kAttentionChunk * kernels::kv_row_bytes(view.type, view.n_kv_heads, view.head_dim);
}

/// The first chunk that position n_cached sees.
uint32_t first_chunk(const KvCacheView& ring, uint32_t n_cached) {
  return (n_cached + 1 > ring.window ? n_cached + 1 - ring.window : 0) / kAttentionChunk;
}

uint64_t slot_bytes(const std::vector<KvCacheView>& rings) {
  uint64_t n_bytes = 0;
  for (const KvCacheView& ring : rings) {
    n_bytes += 2 * seen_chunks(ring.window, ring.n_rows) * chunk_bytes(ring);
  }
  return n_bytes;
}

}  // namespace

uint64_t snapshot_bytes(const model::ModelConfig& config, uint32_t context, kernels::KvType type,
                        uint32_t pass_rows) {
  std::vector<KvCacheView> rings;
  for (const model::LayerConfig& layer : config.kv_layers()) {
    const uint32_t n_rows = ring_rows(config.window, context, pass_rows);
    if (layer.kind != model::LayerKind::sliding || n_rows >= context) continue;
    rings.push_back({.type = type,
                     .n_kv_heads = layer.n_kv_heads,
                     .head_dim = layer.head_dim,
                     .n_rows = n_rows,
                     .window = config.window});
  }
  return slot_bytes(rings);
}

RingSnapshots::RingSnapshots(vk::Device& device, const KvCache& cache, uint64_t budget_bytes)
    : device_(&device) {
  for (const KvCacheView& layer : cache.own_layers()) {
    if (layer.window != 0 && layer.n_rows < cache.context()) rings_.push_back(layer);
  }
  if (rings_.empty()) return;
  max_slots_ = std::min<uint64_t>(budget_bytes / slot_bytes(rings_), kMaxSnapshots);
  slots_.reserve(max_slots_);
}

/// A free slot, else a new one, else the oldest; nullptr where there is room for none.
Result<RingSnapshots::Slot*> RingSnapshots::pick_slot() {
  const auto unused =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.n_cached == 0; });
  if (unused != slots_.end()) return &*unused;
  if (slots_.size() < max_slots_) {
    Slot slot;
    slot.arena = vk::Arena(*device_, vk::MemoryKind::device, "ring snapshot");
    std::vector<uint64_t> sizes;
    for (const KvCacheView& ring : rings_) {
      sizes.insert(sizes.end(), 2, seen_chunks(ring.window, ring.n_rows) * chunk_bytes(ring));
    }
    auto copies = slot.arena.allocate(sizes);
    if (copies.ok()) {
      slot.copies = std::move(copies).value();
      slots_.push_back(std::move(slot));
      return &slots_.back();
    }
    if (copies.error().code != ErrorCode::out_of_memory) return std::move(copies).error();
    max_slots_ = slots_.size();  // others have taken the memory that was planned for
  }
  const auto oldest = std::min_element(slots_.begin(), slots_.end(),
                                       [](const Slot& a, const Slot& b) { return a.age < b.age; });
  return oldest == slots_.end() ? nullptr : &*oldest;
}

/// Chunks are contiguous, so a window is one range of its ring, or two where it wraps around.
Status RingSnapshots::copy(const Slot& slot, uint32_t n_cached, bool saving) {
  KL_ASSIGN(vk::Recorder recorder,
            vk::Recorder::begin(*device_, saving ? "save rings" : "restore rings"));
  recorder.barrier(vk::Access::compute, vk::Access::transfer);
  recorder.barrier(vk::Access::transfer, vk::Access::transfer);
  auto kept = slot.copies.begin();
  for (const KvCacheView& ring : rings_) {
    const uint64_t bytes = chunk_bytes(ring);
    const uint32_t n_ring = ring.n_rows / kAttentionChunk;
    const uint32_t first = first_chunk(ring, n_cached);
    const uint32_t n = div_up(n_cached, kAttentionChunk) - first;
    const uint32_t at = first % n_ring;
    const uint32_t n_before_end = std::min(n, n_ring - at);
    for (const graph::Tensor* tensor : {&ring.k, &ring.v}) {
      const vk::BufferRange rows{tensor->buffer, tensor->offset_bytes, tensor->n_bytes};
      const auto move = [&](uint32_t from_chunk, uint32_t to_chunk, uint32_t n_chunks) {
        if (n_chunks == 0) return;
        const uint64_t in_ring = from_chunk * bytes, in_copy = to_chunk * bytes;
        recorder.copy(saving ? rows : *kept, saving ? *kept : rows, n_chunks * bytes,
                      saving ? in_ring : in_copy, saving ? in_copy : in_ring);
      };
      move(at, 0, n_before_end);
      move(0, n_before_end, n - n_before_end);
      ++kept;
    }
  }
  recorder.barrier(vk::Access::transfer, vk::Access::compute);
  KL_ASSIGN(const vk::CommandBuffer commands, recorder.finish());
  return device_->run(commands.get());
}

Status RingSnapshots::save(uint32_t n_cached) {
  if (n_cached < find(n_cached) + kSnapshotSpacing) return {};
  KL_ASSIGN(Slot * slot, pick_slot());
  if (slot == nullptr) return {};
  slot->n_cached = 0;
  KL_TRY(copy(*slot, n_cached, /*saving=*/true));
  slot->n_cached = n_cached;
  slot->age = ++n_saves_;
  return {};
}

void RingSnapshots::forget_after(uint32_t n_kept) {
  for (Slot& slot : slots_) {
    if (slot.n_cached > n_kept) slot.n_cached = 0;
  }
}

uint32_t RingSnapshots::find(uint32_t limit) const {
  uint32_t best = 0;
  for (const Slot& slot : slots_) {
    if (slot.n_cached <= limit) best = std::max(best, slot.n_cached);
  }
  return best;
}

Result<uint32_t> RingSnapshots::restore(uint32_t n_cached) {
  const auto slot = std::find_if(slots_.begin(), slots_.end(),
                                 [&](const Slot& s) { return s.n_cached == n_cached; });
  KL_CHECK(n_cached > 0 && slot != slots_.end(), "a snapshot that was not found");
  KL_TRY(copy(*slot, n_cached, /*saving=*/false));
  uint32_t n_written = n_cached;
  for (const KvCacheView& ring : rings_) {
    const uint32_t first_intact = first_chunk(ring, n_cached) * kAttentionChunk;
    if (first_intact > 0) n_written = std::max(n_written, first_intact + ring.n_rows);
  }
  return n_written;
}

size_t RingSnapshots::size() const {
  return static_cast<size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.n_cached != 0; }));
}

}  // namespace kimberlite::runtime
