// What picture it is, who decodes it, and the sink that keeps all of it.
#include "media/image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/mapped_file.hpp"
#include "media/byte_reader.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {
namespace {

struct Format {
  std::string_view name;
  Status (*decode)(std::span<const std::byte>, std::string_view, RowSink&);  // null: not built
};
constexpr Format kFormats[] = {
    {"PNG", KIMBERLITE_PNG ? decode_png : nullptr},
    {"JPEG", KIMBERLITE_JPEG ? decode_jpeg : nullptr},
    {"WebP", KIMBERLITE_WEBP ? decode_webp : nullptr},
    {"BMP", KIMBERLITE_STB ? decode_bmp : nullptr},
    {"GIF", KIMBERLITE_STB ? decode_gif : nullptr},
};

const Format& format_of(ImageType type) { return kFormats[static_cast<size_t>(type)]; }

struct Signature {
  size_t offset;
  std::string_view text;
  std::string_view type;
};
// What people send that is not read here, so that the message can say what it is.
constexpr Signature kOtherFiles[] = {
    {4, "ftypheic", "a HEIC picture"},    {4, "ftypheix", "a HEIC picture"},
    {4, "ftypmif1", "a HEIF picture"},    {4, "ftypavif", "an AVIF picture"},
    {0, {"II*\0", 4}, "a TIFF picture"},  {0, {"MM\0*", 4}, "a TIFF picture"},
    {0, "\xff\x0a", "a JPEG XL picture"}, {0, {"\0\0\0\x0cJXL ", 8}, "a JPEG XL picture"},
    {0, "%PDF-", "a PDF document"},       {0, "<svg", "an SVG drawing"},
};

/// Keeps the whole picture, turned.
class ImageSink final : public RowSink {
 public:
  Status begin(const ImageHeader& header) override {
    header_ = header;
    image_.width = header.shown_width();
    image_.height = header.shown_height();
    image_.pixels.resize(size_t{3} * image_.width * image_.height);
    return {};
  }

  void row(const uint8_t* rgb) override {
    const auto [flip_rows, flip_columns, transpose] = header_.orientation;
    const size_t along = flip_columns ? header_.height - 1 - n_rows_ : n_rows_;
    ++n_rows_;
    const size_t stride = size_t{3} * image_.width;
    if (!flip_rows && !transpose) {
      std::memcpy(image_.pixels.data() + along * stride, rgb, stride);
      return;
    }
    for (size_t i = 0; i < header_.width; ++i) {
      const size_t across = flip_rows ? header_.width - 1 - i : i;
      const size_t x = transpose ? along : across;
      const size_t y = transpose ? across : along;
      std::memcpy(image_.pixels.data() + y * stride + 3 * x, rgb + 3 * i, 3);
    }
  }

  Image take() { return std::move(image_); }

 private:
  ImageHeader header_;
  Image image_;
  size_t n_rows_ = 0;
};

}  // namespace

Orientation Orientation::from_exif(uint32_t value) {
  // Which of the stored edges is the top and which the left (EXIF 2.32, tag 0x0112).
  constexpr Orientation kTurns[] = {{},
                                    {},
                                    {true, false, false},
                                    {true, true, false},
                                    {false, true, false},
                                    {false, false, true},
                                    {false, true, true},
                                    {true, true, true},
                                    {true, false, true}};
  return value < std::size(kTurns) ? kTurns[value] : Orientation{};
}

Status check_size(const ImageHeader& header, std::string_view name) {
  const uint64_t n_pixels = uint64_t{header.width} * header.height;
  if (n_pixels == 0) {
    return Error{ErrorCode::bad_file, fmt::format("{}: a picture of {} x {} pixels holds nothing",
                                                  name, header.width, header.height)};
  }
  if (n_pixels > kMaxImagePixels) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} x {} pixels, at most {} million are read", name, header.width,
                             header.height, kMaxImagePixels / 1'000'000)};
  }
  if (std::max(header.width, header.height) > kMaxImageSide) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} x {} pixels, at most {} a side are read", name, header.width,
                             header.height, kMaxImageSide)};
  }
  return {};
}

Status begin_rows(RowSink& sink, const ImageHeader& header, std::string_view name) {
  KL_TRY(check_size(header, name));
  return sink.begin(header);
}

void flatten_row(const uint8_t* rgba, size_t n_pixels, uint8_t* rgb) {
  for (size_t i = 0; i < n_pixels; ++i) {
    const uint32_t alpha = rgba[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      // Division by 255 with 7 more bits, as Pillow's alpha_composite does it.
      const uint32_t sum = (rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 128) << 7;
      rgb[3 * i + c] = static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
    }
  }
}

void send_rows(RowSink& sink, const uint8_t* pixels, const ImageHeader& header, size_t n_channels) {
  std::vector<uint8_t> flat(n_channels == 4 ? size_t{3} * header.width : 0);
  for (size_t y = 0; y < header.height; ++y) {
    const uint8_t* row = pixels + y * n_channels * header.width;
    if (n_channels == 4) flatten_row(row, header.width, flat.data());
    sink.row(n_channels == 4 ? flat.data() : row);
  }
}

std::string_view image_type_name(ImageType type) { return format_of(type).name; }

bool reads_image_type(ImageType type) { return format_of(type).decode != nullptr; }

Result<ImageType> find_image_type(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes.empty()) return Error{ErrorCode::bad_file, fmt::format("{}: is empty", name)};
  if (has_text(bytes, 0, "\x89PNG\r\n\x1a\n")) return ImageType::png;
  if (has_text(bytes, 0, "\xff\xd8\xff")) return ImageType::jpeg;
  if (has_text(bytes, 0, "RIFF") && has_text(bytes, 8, "WEBP")) return ImageType::webp;
  if (has_text(bytes, 0, "GIF87a") || has_text(bytes, 0, "GIF89a")) return ImageType::gif;
  // Two letters are few: the size of the header that follows is one of those in use, below 256.
  if (has_text(bytes, 0, "BM") && read_little<4>(bytes, 14) - 1 < 255) return ImageType::bmp;
  for (const Signature& other : kOtherFiles) {
    if (has_text(bytes, other.offset, other.text)) {
      return Error{
          ErrorCode::unsupported,
          fmt::format("{}: is {}; pictures may be PNG, JPEG, WebP, BMP or GIF", name, other.type)};
    }
  }
  return Error{ErrorCode::bad_file,
               fmt::format("{}: is no picture: starts with \"{}\"", name, shown_start(bytes))};
}

Status decode_rows(std::span<const std::byte> bytes, std::string_view name, RowSink& sink) {
  KL_ASSIGN(const ImageType type, find_image_type(bytes, name));
  const Format& format = format_of(type);
  if (format.decode == nullptr) {
    return Error{ErrorCode::unsupported, fmt::format("{}: is a {} picture; this build reads no {}",
                                                     name, format.name, format.name)};
  }
  return format.decode(bytes, name, sink);
}

Result<Image> decode_image(std::span<const std::byte> bytes, std::string_view name) {
  ImageSink sink;
  KL_TRY(decode_rows(bytes, name, sink));
  return sink.take();
}

Result<Image> read_image_file(const std::string& path) {
  KL_ASSIGN(const MappedFile file, MappedFile::open(path));
  return decode_image(file.bytes(), path);
}

}  // namespace kimberlite::media
