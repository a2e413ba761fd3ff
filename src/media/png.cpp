// PNG through libpng, row by row; interlaced pictures as a whole.
#if KIMBERLITE_PNG

#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "media/byte_reader.hpp"
#include "media/exif.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {
namespace {

// libpng leaves its functions with longjmp. So every call goes through guarded(), whose frame and
// those below it hold nothing that needs a destructor.
struct PngReader {
  explicit PngReader(std::span<const std::byte> data) : bytes(data) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }

  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message, sizeof(reader->message), "%s", message);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, size_t n_bytes) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (n_bytes > reader->bytes.size() - reader->at) {
      reader->at_end = true;
      png_error(png, "the file ends early");
    }
    std::memcpy(out, reader->bytes.data() + reader->at, n_bytes);
    reader->at += n_bytes;
  }

  std::span<const std::byte> bytes;
  size_t at = 0;
  bool at_end = false;
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[160] = "";
};

template <typename Call>
bool guarded(PngReader& reader, const Call& call) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  call(reader.png, reader.info);
  return true;
}

Error failure(const PngReader& reader, std::string_view name, size_t row, size_t n_rows) {
  if (!reader.at_end) {
    return Error{ErrorCode::bad_file, fmt::format("{}: damaged PNG: {} (row {} of {})", name,
                                                  reader.message, row, n_rows)};
  }
  const std::string_view what = n_rows == 0 ? "header" : row < n_rows ? "pixels" : "end mark";
  return Error{ErrorCode::bad_file,
               fmt::format("{}: PNG cut off after {} bytes: its {} (row {} of {}) is missing", name,
                           reader.bytes.size(), what, row, n_rows)};
}

/// eXIf may stand behind the pixels, so it is looked for before they are decoded.
Orientation find_orientation(std::span<const std::byte> bytes) {
  for (size_t at = 8; bytes.size() - at >= 12;) {
    const size_t n_bytes = read_big<4>(bytes, at);
    if (n_bytes > bytes.size() - at - 12) break;
    if (has_text(bytes, at + 4, "eXIf")) return read_orientation(bytes.subspan(at + 8, n_bytes));
    at += 12 + n_bytes;
  }
  return {};
}

/// Has libpng give 8-bit R G B, or R G B A where there is transparency; returns how many passes.
int set_transforms(png_structp png, png_infop info) {
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_gray_to_rgb(png);
  const int n_passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return n_passes;
}

}  // namespace

Status decode_png(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  PngReader reader(bytes);
  if (reader.info == nullptr) {
    return Error{ErrorCode::out_of_memory, fmt::format("{}: no memory for a PNG reader", name)};
  }
  const bool has_header = guarded(reader, [&reader](png_structp png, png_infop info) {
    png_set_read_fn(png, &reader, PngReader::on_read);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // begin_rows() says it better
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png, info);
  });
  if (!has_header) return failure(reader, name, 0, 0);
  ImageHeader header;
  header.width = png_get_image_width(reader.png, reader.info);
  header.height = png_get_image_height(reader.png, reader.info);
  header.orientation = find_orientation(bytes);
  KL_TRY(begin_rows(sink, header, name));

  int n_passes = 0;
  if (!guarded(reader, [&n_passes](png_structp png, png_infop info) {
        n_passes = set_transforms(png, info);
      })) {
    return failure(reader, name, 0, header.height);
  }
  const size_t n_channels = png_get_channels(reader.png, reader.info);
  const size_t stride = n_channels * header.width;
  KL_CHECK(
      stride == png_get_rowbytes(reader.png, reader.info) && (n_channels == 3 || n_channels == 4),
      "what set_transforms() asked for");
  const bool whole = n_passes > 1;
  std::vector<uint8_t> pixels(whole ? stride * header.height : stride);
  std::vector<uint8_t> flat(size_t{3} * header.width);
  for (int pass = 0; pass < n_passes; ++pass) {
    for (size_t y = 0; y < header.height; ++y) {
      uint8_t* row = pixels.data() + (whole ? y * stride : 0);
      if (!guarded(reader,
                   [row](png_structp png, png_infop) { png_read_row(png, row, nullptr); })) {
        return failure(reader, name, y, header.height);
      }
      if (pass + 1 < n_passes) continue;
      if (n_channels == 4) flatten_row(row, header.width, flat.data());
      sink.row(n_channels == 4 ? flat.data() : row);
    }
  }
  if (!guarded(reader, [](png_structp png, png_infop) { png_read_end(png, nullptr); })) {
    return failure(reader, name, header.height, header.height);
  }
  return {};
}

}  // namespace kimberlite::media

#endif
