#include "media/byte_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kimberlite::media {

std::string shown_start(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes.first(std::min<size_t>(bytes.size(), 12))) {
    const auto c = std::to_integer<unsigned>(b);
    text += c >= 32 && c < 127 ? std::string(1, static_cast<char>(c)) : fmt::format("\\x{:02x}", c);
  }
  return text;
}

}  // namespace kimberlite::media
