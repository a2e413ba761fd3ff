// How decoders hand out pictures: a header, then rows from the top, so that a large picture need
// never be in memory as a whole. Inside the layer only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::media {

/// How a stored picture has to be turned to be looked at.
struct Orientation {
  /// Of an EXIF value, 1 to 8; anything else turns nothing.
  static Orientation from_exif(uint32_t value);

  bool flip_rows = false;     // stored rows run from the right to the left
  bool flip_columns = false;  // the first stored row is the last
  bool transpose = false;     // after the flips, rows become columns
};

struct ImageHeader {
  uint32_t width = 0;  // as stored
  uint32_t height = 0;
  Orientation orientation;

  [[nodiscard]] uint32_t shown_width() const { return orientation.transpose ? height : width; }
  [[nodiscard]] uint32_t shown_height() const { return orientation.transpose ? width : height; }
};

/// What takes a picture.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// Once, before the first row.
  virtual Status begin(const ImageHeader& header) = 0;
  /// The next stored row from the top: `width` pixels R G B.
  virtual void row(const uint8_t* rgb) = 0;
};

/// Decodes whatever picture the bytes hold into `sink`. After an error the sink is incomplete.
Status decode_rows(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);

/// Errors: bad_file where no picture of this size is decoded.
Status check_size(const ImageHeader& header, std::string_view name);

/// sink.begin() for a header whose size is one that is decoded.
Status begin_rows(RowSink& sink, const ImageHeader& header, std::string_view name);

/// The rows of a picture in memory with 3 or 4 (R G B A) channels.
void send_rows(RowSink& sink, const uint8_t* pixels, const ImageHeader& header, size_t n_channels);

/// R G B A over white.
void flatten_row(const uint8_t* rgba, size_t n_pixels, uint8_t* rgb);

// The formats. Each expects the bytes to start like one.
Status decode_png(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);
Status decode_jpeg(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);
Status decode_webp(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);
Status decode_bmp(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);
Status decode_gif(std::span<const std::byte> bytes, std::string_view name, RowSink& sink);

}  // namespace kimberlite::media
