#include "media/exif.hpp"

#include <string_view>

#include "media/byte_reader.hpp"

namespace kimberlite::media {

Orientation read_orientation(std::span<const std::byte> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (has_text(exif, 0, kPrefix)) exif = exif.subspan(kPrefix.size());
  const bool big = has_text(exif, 0, std::string_view("MM\0*", 4));
  if (!big && !has_text(exif, 0, std::string_view("II*\0", 4))) return {};
  const auto u16 = [&](size_t at) {
    return big ? read_big<2>(exif, at) : read_little<2>(exif, at);
  };
  const auto u32 = [&](size_t at) {
    return big ? read_big<4>(exif, at) : read_little<4>(exif, at);
  };
  const size_t directory = u32(4);
  const size_t n_entries = u16(directory);
  for (size_t i = 0; i < n_entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (u16(entry) != 0x0112) continue;
    constexpr uint32_t kShort = 3, kLong = 4;
    const uint32_t type = u16(entry + 2);
    if (type == kShort) return Orientation::from_exif(u16(entry + 8));
    if (type == kLong) return Orientation::from_exif(u32(entry + 8));
    return {};
  }
  return {};
}

}  // namespace kimberlite::media
