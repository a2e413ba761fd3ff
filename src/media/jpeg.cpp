// JPEG through libjpeg-turbo, row by row.
#if KIMBERLITE_JPEG

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
// After <cstdio>, whose FILE it uses.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <vector>

#include "media/byte_reader.hpp"
#include "media/exif.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {
namespace {

/// A progressive picture of more scans than any program writes only costs time.
constexpr int kMaxScans = 200;

// libjpeg leaves its functions through error_exit, here with longjmp. So every call goes through
// guarded(), whose frame and those below it hold nothing that needs a destructor.
struct JpegReader {
  JpegReader() {
    info.err = jpeg_std_error(&errors);
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    info.client_data = this;
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&info); }

  [[noreturn]] static void on_error(j_common_ptr common) {
    auto* reader = static_cast<JpegReader*>(common->client_data);
    common->err->format_message(common, reader->message);
    std::longjmp(reader->jump, 1);
  }
  /// libjpeg fills what is missing with grey and goes on; here that is an error. Other warnings, of
  /// stray bytes between segments, cost no pixel.
  static void on_message(j_common_ptr common, int level) {
    if (level >= 0) return;
    const int code = common->err->msg_code;
    auto* reader = static_cast<JpegReader*>(common->client_data);
    reader->cut_off = code == JWRN_JPEG_EOF;
    if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE) {
      on_error(common);
    }
  }
  static void on_progress(j_common_ptr common) {
    auto* reader = static_cast<JpegReader*>(common->client_data);
    if (reader->info.input_scan_number <= kMaxScans) return;
    std::snprintf(reader->message, sizeof(reader->message), "more than %d scans", kMaxScans);
    std::longjmp(reader->jump, 1);
  }

  jpeg_decompress_struct info = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf jump = {};
  bool cut_off = false;
  char message[JMSG_LENGTH_MAX] = "";
};

template <typename Call>
bool guarded(JpegReader& reader, const Call& call) {
  if (setjmp(reader.jump) != 0) return false;
  call(reader.info);
  return true;
}

Error failure(const JpegReader& reader, std::string_view name, size_t n_bytes) {
  const auto& info = reader.info;
  const std::string where =
      info.output_height == 0
          ? "before its pixels"
          : fmt::format("row {} of {}", info.output_scanline, info.output_height);
  if (reader.cut_off) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: JPEG cut off after {} bytes: pixels are missing"
                             " ({})",
                             name, n_bytes, where)};
  }
  return Error{ErrorCode::bad_file,
               fmt::format("{}: damaged JPEG: {} ({})", name, reader.message, where)};
}

Orientation find_orientation(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* m = info.marker_list; m != nullptr; m = m->next) {
    const auto data = std::as_bytes(std::span(m->data, m->data_length));
    if (has_text(data, 0, std::string_view("Exif\0\0", 6))) return read_orientation(data);
  }
  return {};
}

}  // namespace

Status decode_jpeg(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  JpegReader reader;
  jpeg_decompress_struct& info = reader.info;
  const bool has_header = guarded(reader, [&reader, bytes](jpeg_decompress_struct& in) {
    jpeg_create_decompress(&in);
    reader.progress.progress_monitor = JpegReader::on_progress;
    in.progress = &reader.progress;
    jpeg_mem_src(&in, reinterpret_cast<const unsigned char*>(bytes.data()),
                 static_cast<unsigned long>(bytes.size()));
    jpeg_save_markers(&in, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&in, TRUE);
  });
  if (!has_header) return failure(reader, name, bytes.size());
  if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: a JPEG in the colours of print (CMYK); convert it to RGB", name)};
  }
  ImageHeader header;
  header.width = info.image_width;
  header.height = info.image_height;
  header.orientation = find_orientation(info);
  KL_TRY(begin_rows(sink, header, name));

  std::vector<uint8_t> pixels(size_t{3} * header.width);
  const bool started = guarded(reader, [](jpeg_decompress_struct& in) {
    in.out_color_space = JCS_RGB;
    jpeg_start_decompress(&in);
  });
  if (!started) return failure(reader, name, bytes.size());
  KL_CHECK(info.output_width == header.width && info.output_components == 3, "RGB was asked for");
  uint8_t* row = pixels.data();
  for (uint32_t y = 0; y < header.height; ++y) {
    if (!guarded(reader, [row](jpeg_decompress_struct& in) {
          JSAMPROW rows[1] = {row};
          jpeg_read_scanlines(&in, rows, 1);
        })) {
      return failure(reader, name, bytes.size());
    }
    sink.row(row);
  }
  if (!guarded(reader, [](jpeg_decompress_struct& in) { jpeg_finish_decompress(&in); })) {
    return failure(reader, name, bytes.size());
  }
  return {};
}

}  // namespace kimberlite::media

#endif
