// Numbers at places of a file that may not have them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace kimberlite::media {

/// A number of N bytes at `offset`, 0 where the bytes end before it.
template <size_t N>
[[nodiscard]] inline uint32_t read_big(std::span<const std::byte> bytes, size_t offset) {
  if (bytes.size() < N || offset > bytes.size() - N) return 0;
  uint32_t value = 0;
  for (size_t i = 0; i < N; ++i)
    value = (value << 8) | std::to_integer<uint32_t>(bytes[offset + i]);
  return value;
}
template <size_t N>
[[nodiscard]] inline uint32_t read_little(std::span<const std::byte> bytes, size_t offset) {
  if (bytes.size() < N || offset > bytes.size() - N) return 0;
  uint32_t value = 0;
  for (size_t i = N; i > 0; --i) {
    value = (value << 8) | std::to_integer<uint32_t>(bytes[offset + i - 1]);
  }
  return value;
}

/// True where `text` stands at `offset`.
[[nodiscard]] inline bool has_text(std::span<const std::byte> bytes, size_t offset,
                                   std::string_view text) {
  return offset <= bytes.size() && text.size() <= bytes.size() - offset &&
         std::memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}

/// The start of the bytes as a message shows it: printable characters, others as \xNN.
std::string shown_start(std::span<const std::byte> bytes);

}  // namespace kimberlite::media
