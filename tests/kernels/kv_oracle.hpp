// The KV cache of one layer in host memory, and the columns that look at it.
#pragma once

#include <cstring>
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

}  // namespace kimberlite::kernels
