// Pictures as files or bytes in memory, decoded to 8-bit RGB.
//
// What every format ends as: oriented as its EXIF data says, transparency composited over white,
// grey and palettes as RGB, the upper byte of 16-bit samples. Colour profiles and gamma are not
// applied. The type is found by content, never by a name's ending. Thread rule: functions share
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::media {

/// The largest picture that is decoded, checked in its header: all of its pixels, and a side.
inline constexpr uint64_t kMaxImagePixels = 100'000'000;
inline constexpr uint32_t kMaxImageSide = 1'000'000;

struct Image {
  uint32_t width = 0;
  uint32_t height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3], R G B
};

enum class ImageType { png, jpeg, webp, bmp, gif };

std::string_view image_type_name(ImageType type);

/// False where this build lacks the library for it; decoding says so by name.
bool reads_image_type(ImageType type);

/// What the bytes start like. Errors: bad_file where they are no picture, unsupported where they
/// are one of a type that is not read here; `name` is what messages call them.
Result<ImageType> find_image_type(std::span<const std::byte> bytes, std::string_view name);

/// The picture, of animations the first frame. Errors: bad_file where it is damaged, cut off or
/// larger than the limits above; unsupported. JPEG and PNG need a row beside the result,
/// progressive and interlaced ones, WebP and BMP the picture once or twice more, GIF three times.
Result<Image> decode_image(std::span<const std::byte> bytes, std::string_view name);

/// decode_image of the mapped file at `path`. Errors: io as well.
Result<Image> read_image_file(const std::string& path);

}  // namespace kimberlite::media
