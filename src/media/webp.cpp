// WebP through libwebp; the first frame of animations through libwebpdemux.
#if KIMBERLITE_WEBP

#include <fmt/format.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "media/byte_reader.hpp"
#include "media/exif.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {
namespace {

const uint8_t* as_uint8(std::span<const std::byte> bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

Orientation find_orientation(std::span<const std::byte> bytes) {
  for (size_t at = 12; at < bytes.size() && bytes.size() - at >= 8;) {
    const size_t n_bytes = read_little<4>(bytes, at + 4);
    if (n_bytes > bytes.size() - at - 8) break;
    if (has_text(bytes, at, "EXIF")) return read_orientation(bytes.subspan(at + 8, n_bytes));
    at += 8 + n_bytes + n_bytes % 2;
  }
  return {};
}

Error failure(VP8StatusCode status, std::string_view name, size_t n_bytes) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return Error{ErrorCode::out_of_memory, fmt::format("{}: no memory for a WebP picture", name)};
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return Error{
          ErrorCode::bad_file,
          fmt::format("{}: WebP cut off after {} bytes: pixels are missing", name, n_bytes)};
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: a kind of WebP that is not read", name)};
    default:
      return Error{ErrorCode::bad_file, fmt::format("{}: damaged WebP", name)};
  }
}

Status decode_first_frame(std::span<const std::byte> bytes, std::string_view name,
                          const ImageHeader& header, RowSink& sink) {
  KL_TRY(begin_rows(sink, header, name));
  const WebPData data{as_uint8(bytes), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  uint8_t* pixels = nullptr;  // R G B A, owned by the decoder
  int time_ms = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &pixels, &time_ms) == 0) {
    return failure(VP8_STATUS_BITSTREAM_ERROR, name, bytes.size());
  }
  send_rows(sink, pixels, header, 4);
  return {};
}

}  // namespace

Status decode_webp(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  const uint64_t n_promised = uint64_t{8} + read_little<4>(bytes, 4);
  if (n_promised > bytes.size()) {
    return Error{ErrorCode::bad_file, fmt::format("{}: WebP cut off: says {} bytes, has {}", name,
                                                  n_promised, bytes.size())};
  }
  WebPDecoderConfig config;
  KL_CHECK(WebPInitDecoderConfig(&config) != 0, "libwebp is the one that was compiled against");
  const VP8StatusCode known = WebPGetFeatures(as_uint8(bytes), bytes.size(), &config.input);
  if (known != VP8_STATUS_OK) return failure(known, name, bytes.size());
  ImageHeader header;
  header.width = static_cast<uint32_t>(config.input.width);
  header.height = static_cast<uint32_t>(config.input.height);
  header.orientation = find_orientation(bytes);
  if (config.input.has_animation != 0) return decode_first_frame(bytes, name, header, sink);
  KL_TRY(begin_rows(sink, header, name));

  config.output.colorspace = config.input.has_alpha != 0 ? MODE_RGBA : MODE_RGB;
  const std::unique_ptr<WebPDecBuffer, decltype(&WebPFreeDecBuffer)> output(&config.output,
                                                                            WebPFreeDecBuffer);
  const VP8StatusCode decoded = WebPDecode(as_uint8(bytes), bytes.size(), &config);
  if (decoded != VP8_STATUS_OK) return failure(decoded, name, bytes.size());
  const size_t n_channels = config.input.has_alpha != 0 ? 4 : 3;
  KL_CHECK(static_cast<size_t>(config.output.u.RGBA.stride) == n_channels * header.width,
           "libwebp packs rows");
  send_rows(sink, config.output.u.RGBA.rgba, header, n_channels);
  return {};
}

}  // namespace kimberlite::media

#endif
