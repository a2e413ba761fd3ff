// The KV cache of one layer in host memory: rows encoded and decoded by the layout's definition
// (kernels/kv_layout.hpp), as the reference that kernels are compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/numeric.hpp"
#include "kernels/kv_layout.hpp"

namespace kimberlite::kernels {

/// K or V of one layer. Starts with every bit set: NaN in f32, f16 and in the scales of q8_0.
class HostCache {
 public:
  explicit HostCache(const KvCacheView& view)
      : view_(view),
        head_bytes_(kv_head_bytes(view.type, view.head_dim)),
        bytes_(kv_row_bytes(view.type, view.n_kv_heads, view.head_dim) * view.n_rows *
                   view.n_sequences,
               uint8_t{0xff}) {}

  [[nodiscard]] const KvCacheView& view() const { return view_; }
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bytes_; }
  void assign(std::span<const std::byte> bytes) {
    KL_CHECK(bytes.size() == bytes_.size(), "a cache of another size");
    std::memcpy(bytes_.data(), bytes.data(), bytes.size());
  }

  /// Back to the state before anything was written.
  void poison(uint32_t sequence, uint32_t position, uint32_t head) {
    std::memset(head_start(sequence, position, head), 0xff, head_bytes_);
  }

  [[nodiscard]] float get(uint32_t sequence, uint32_t position, uint32_t head, uint32_t i) const {
    const uint8_t* start = head_start(sequence, position, head);
    if (view_.type == KvType::f32) return load<float>(start + i * 4);
    if (view_.type == KvType::f16) return half_to_float(load<uint16_t>(start + i * 2));
    return static_cast<float>(static_cast<int8_t>(start[i])) *
           half_to_float(load<uint16_t>(start + scale_offset(i / 32)));
  }

  /// Rounds one head of values to the cache's type.
  void set(uint32_t sequence, uint32_t position, uint32_t head, const float* values) {
    uint8_t* start = head_start(sequence, position, head);
    for (uint32_t i = 0; i < view_.head_dim; ++i) {
      if (view_.type == KvType::f32) store(start + i * 4, values[i]);
      if (view_.type == KvType::f16) store(start + i * 2, float_to_half(values[i]));
    }
    if (view_.type != KvType::q8_0) return;
    for (uint32_t block = 0; block < view_.head_dim / 32; ++block) {
      float peak = 0;
      for (uint32_t i = 0; i < 32; ++i) peak = std::max(peak, std::abs(values[block * 32 + i]));
      const uint16_t scale = float_to_half(peak / 127.0f);
      store(start + scale_offset(block), scale);
      for (uint32_t i = 0; i < 32; ++i) {
        const float code = std::nearbyint(values[block * 32 + i] / half_to_float(scale));
        start[block * 32 + i] = static_cast<uint8_t>(static_cast<int8_t>(code));
      }
    }
  }

 private:
  /// Blocks b and b + head_dim / 64 share a word.
  [[nodiscard]] uint32_t scale_offset(uint32_t block) const {
    const uint32_t n_pairs = view_.head_dim / 64;
    return view_.head_dim + block % n_pairs * 4 + block / n_pairs * 2;
  }
  [[nodiscard]] const uint8_t* head_start(uint32_t sequence, uint32_t position,
                                          uint32_t head) const {
    const size_t row = size_t{sequence} * view_.n_rows + position % view_.n_rows;
    const size_t chunk_head = row / kAttentionChunk * view_.n_kv_heads + head;
    return bytes_.data() + (chunk_head * kAttentionChunk + row % kAttentionChunk) * head_bytes_;
  }
  uint8_t* head_start(uint32_t sequence, uint32_t position, uint32_t head) {
    return const_cast<uint8_t*>(std::as_const(*this).head_start(sequence, position, head));
  }

  KvCacheView view_;
  uint32_t head_bytes_;
  std::vector<uint8_t> bytes_;
};

}  // namespace kimberlite::kernels
