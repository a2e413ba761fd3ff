// The KV cache of one layer in host memory, and the columns that look at it.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/kv_reference.hpp"
#include "shaders/common/columns.h"

namespace kimberlite::kernels {

/// Columns [first, first + n) as the words of a u32 [n, 4] tensor.
inline std::vector<uint32_t> column_words(const std::vector<shaders::Column>& columns, size_t first,
                                          size_t n) {
  std::vector<uint32_t> words(n * 4);
  std::memcpy(words.data(), columns.data() + first, words.size() * 4);
  return words;
}

/// The rows of a cache cut into segments, sequence by sequence: the order of a table.
inline std::vector<std::span<const uint8_t>> cut_segments(const HostCache& cache,
                                                          uint32_t segment_rows) {
  const KvCacheView& view = cache.view();
  const size_t row_bytes = kv_row_bytes(view.type, view.n_kv_heads, view.head_dim);
  std::vector<std::span<const uint8_t>> segments;
  for (uint32_t sequence = 0; sequence < view.n_sequences; ++sequence) {
    for (uint32_t row = 0; row < view.n_rows; row += segment_rows) {
      const size_t n_rows = std::min(segment_rows, view.n_rows - row);
      segments.push_back(
          std::span(cache.bytes())
              .subspan((size_t{sequence} * view.n_rows + row) * row_bytes, n_rows * row_bytes));
    }
  }
  return segments;
}

}  // namespace kimberlite::kernels
