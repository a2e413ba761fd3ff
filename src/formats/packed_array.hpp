// A view of numbers that lie in a file at any alignment.
#pragma once

#include <cstddef>
#include <iterator>
#include <span>
#include <vector>

#include "base/numeric.hpp"

namespace kimberlite::formats {

/// Borrowed from the file it was read from. Elements are copied out one by one, because a GGUF
/// array may start at any byte.
template <typename T>
class PackedArray {
 public:
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    using pointer = const T*;
    using reference = T;

    Iterator() = default;
    explicit Iterator(const std::byte* at) : at_(at) {}
    T operator*() const { return load<T>(at_); }
    Iterator& operator++() {
      at_ += sizeof(T);
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const std::byte* at_ = nullptr;
  };

  PackedArray() = default;
  explicit PackedArray(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] size_t size() const { return bytes_.size() / sizeof(T); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  /// `i` < size().
  T operator[](size_t i) const { return load<T>(bytes_.data() + i * sizeof(T)); }
  [[nodiscard]] Iterator begin() const { return Iterator(bytes_.data()); }
  [[nodiscard]] Iterator end() const { return Iterator(bytes_.data() + bytes_.size()); }
  [[nodiscard]] std::vector<T> to_vector() const { return {begin(), end()}; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace kimberlite::formats
