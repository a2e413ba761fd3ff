// BMP and the first frame of GIF through stb_image, which takes what is missing for zeros: so that
// all is there is checked before.
#if KIMBERLITE_STB

#include <fmt/format.h>

#include <limits>
#include <memory>

#include "media/byte_reader.hpp"
#include "media/image.hpp"
#include "media/image_rows.hpp"

#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

namespace kimberlite::media {
namespace {

/// One code of GIF's compression has at least 3 bits and stands for at most 4096 pixels.
constexpr uint64_t kMaxPixelsPerGifByte = 4096 * 8 / 3;

Error cut_off(std::string_view name, std::string_view type, std::string_view what,
              uint64_t n_needed, uint64_t n_bytes) {
  return Error{ErrorCode::bad_file,
               fmt::format("{}: {} cut off: {} needs {} bytes, the file has {}", name, type, what,
                           n_needed, n_bytes)};
}

Status decode(std::span<const std::byte> bytes, std::string_view name, std::string_view type,
              const ImageHeader& header, RowSink& sink) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return Error{ErrorCode::bad_file, fmt::format("{}: {} of {} bytes", name, type, bytes.size())};
  }
  KL_TRY(begin_rows(sink, header, name));
  int width = 0, height = 0, n_stored = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                            static_cast<int>(bytes.size()), &width, &height, &n_stored, 4),
      stbi_image_free);
  if (!pixels) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: damaged {}: {}", name, type, stbi_failure_reason())};
  }
  if (static_cast<uint32_t>(width) != header.width ||
      static_cast<uint32_t>(height) != header.height) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: damaged {}: {} x {} pixels, its header says"
                             " {} x {}",
                             name, type, width, height, header.width, header.height)};
  }
  send_rows(sink, pixels.get(), header, 4);
  return {};
}

}  // namespace

Status decode_bmp(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  const uint64_t n_bytes = bytes.size();
  const uint64_t pixels_at = read_little<4>(bytes, 10);
  const bool is_old = read_little<4>(bytes, 14) == 12;  // OS/2: 16-bit sizes
  if (n_bytes < 54) return cut_off(name, "BMP", "its header", 54, n_bytes);
  const auto height = static_cast<int32_t>(read_little<4>(bytes, 22));
  ImageHeader header;
  header.width = is_old ? read_little<2>(bytes, 18) : read_little<4>(bytes, 18);
  header.height =
      is_old ? read_little<2>(bytes, 20) : static_cast<uint32_t>(std::abs(int64_t{height}));
  KL_TRY(check_size(header, name));
  const uint64_t n_bits = is_old ? read_little<2>(bytes, 24) : read_little<2>(bytes, 28);
  const uint32_t compression = is_old ? 0 : read_little<4>(bytes, 30);
  constexpr uint32_t kRle8 = 1, kRle4 = 2;
  if (compression == kRle8 || compression == kRle4) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: a BMP with run lengths; save it as PNG", name)};
  }
  const uint64_t stride = (header.width * n_bits + 31) / 32 * 4;
  const uint64_t n_needed = pixels_at + stride * header.height;
  if (n_needed > n_bytes) {
    return cut_off(name, "BMP",
                   fmt::format("{} x {} pixels of {} bits", header.width, header.height, n_bits),
                   n_needed, n_bytes);
  }
  return decode(bytes, name, "BMP", header, sink);
}

Status decode_gif(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  const uint64_t n_bytes = bytes.size();
  ImageHeader header;
  header.width = read_little<2>(bytes, 6);
  header.height = read_little<2>(bytes, 8);
  KL_TRY(check_size(header, name));
  const auto byte_at = [bytes](uint64_t at) { return read_little<1>(bytes, at); };
  const auto table_bytes = [](uint32_t flags) {
    return (flags & 0x80) != 0 ? uint64_t{6} << (flags & 7) : uint64_t{0};
  };
  uint64_t at = 13 + table_bytes(byte_at(10));
  constexpr uint32_t kExtension = 0x21, kFrame = 0x2c;
  bool is_frame = false;
  uint64_t n_data = 0, n_pixels = 0;
  while (!is_frame) {
    if (at >= n_bytes) return cut_off(name, "GIF", "its first frame", at + 1, n_bytes);
    is_frame = byte_at(at) == kFrame;
    if (!is_frame && byte_at(at) != kExtension) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: damaged GIF: block 0x{:02x} at {} before its first frame", name,
                               byte_at(at), at)};
    }
    if (is_frame) {
      n_pixels = uint64_t{read_little<2>(bytes, at + 5)} * read_little<2>(bytes, at + 7);
    }
    at += is_frame ? 11 + table_bytes(byte_at(at + 9)) : 2;
    for (n_data = 0; byte_at(at) != 0 && at < n_bytes; at += 1 + byte_at(at)) n_data += byte_at(at);
    if (at >= n_bytes) return cut_off(name, "GIF", "its first frame", at + 1, n_bytes);
    ++at;
  }
  if (n_pixels > n_data * kMaxPixelsPerGifByte) {
    return cut_off(name, "GIF", fmt::format("a frame of {} pixels", n_pixels),
                   n_pixels / kMaxPixelsPerGifByte, n_data);
  }
  // stb_image paints what a first frame leaves transparent with the background colour unless that
  // is colour 0; everything else shows what is transparent as such.
  std::vector<std::byte> copy(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(at));
  copy[11] = std::byte{0};
  return decode(copy, name, "GIF", header, sink);
}

}  // namespace kimberlite::media

#endif
