// The one thing that is read of a picture's EXIF data.
#pragma once

#include <cstddef>
#include <span>

#include "media/image_rows.hpp"

namespace kimberlite::media {

/// The orientation that EXIF data (a TIFF header and its first directory, with or without
/// "Exif\0\0" before it) gives; none where it gives none or is damaged.
Orientation read_orientation(std::span<const std::byte> exif);

}  // namespace kimberlite::media
