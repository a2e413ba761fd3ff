#include "media/image.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/media/media_files.hpp"

namespace kimberlite::media {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string decode_error(std::span<const std::byte> bytes) {
  const Bytes exact(bytes.begin(), bytes.end());  // so that a sanitizer sees reads behind the end
  const auto image = decode_image(exact, "test");
  if (image.ok()) return "";
  EXPECT_THAT(image.error().message, HasSubstr("test: "));
  return image.error().message;
}

/// The largest difference to what Pillow decodes, in levels.
double difference(const std::string& name) {
  const Bytes file = read_media(name);
  const auto image = decode_image(file, name);
  EXPECT_TRUE(image.ok()) << image.error().message;
  if (!image.ok()) return 256;
  const auto& expected = media_golden().array(name);
  EXPECT_EQ(image->height, expected.shape[0]) << name;
  EXPECT_EQ(image->width, expected.shape[1]) << name;
  if (image->pixels.size() != expected.values.size()) return 256;
  double largest = 0;
  for (size_t i = 0; i < image->pixels.size(); ++i) {
    largest = std::max(largest, std::abs(expected.values[i] - image->pixels[i]));
  }
  return largest;
}

const std::vector<std::string_view> kAllEndings = {".png", ".webp", ".bmp", ".gif", ".jpg"};

TEST(Image, EqualsPillow) {
  const auto names = media_names(kAllEndings);
  EXPECT_EQ(names.size(), 45u);
  for (const std::string& name : names) {
    if (reads(read_media(name))) {
      EXPECT_EQ(difference(name), 0) << name;
    }
  }
}

TEST(Image, TheTypeIsFoundByContent) {
  const auto type = [](std::string_view name) {
    const auto found = find_image_type(read_media(name), "misleading.txt");
    return found.ok() ? image_type_name(*found) : std::string_view(found.error().message);
  };
  EXPECT_EQ(type("rgb.png"), "PNG");
  EXPECT_EQ(type("420.jpg"), "JPEG");
  EXPECT_EQ(type("lossy.webp"), "WebP");
  EXPECT_EQ(type("rgb.bmp"), "BMP");
  EXPECT_EQ(type("plain.gif"), "GIF");
}

TEST(Image, WhatIsNoPicture) {
  EXPECT_EQ(decode_error(to_bytes("Hello\nworld, again")),
            "test: is no picture: starts with \"Hello\\x0aworld,\"");
  EXPECT_EQ(decode_error({}), "test: is empty");
  EXPECT_THAT(decode_error(to_bytes("BMW drivers of the world")), HasSubstr("is no picture"));
  EXPECT_THAT(decode_error(to_bytes("%PDF-1.7")), HasSubstr("is a PDF document"));
  EXPECT_THAT(decode_error(to_bytes({"\0\0\0\x18"
                                     "ftypheic",
                                     12})),
              HasSubstr("HEIC"));
  EXPECT_THAT(decode_error(to_bytes({"II*\0\x08", 5})), HasSubstr("TIFF"));
}

TEST(Image, CmykIsRefused) {
  const Bytes file = read_media("cmyk.jpg");
  if (!reads(file)) GTEST_SKIP() << "no JPEG in this build";
  EXPECT_THAT(decode_error(file), AllOf(HasSubstr("CMYK"), HasSubstr("convert it to RGB")));
}

TEST(Image, AFormatWithoutItsLibraryIsNamed) {
  for (const std::string_view name : {"rgb.png", "420.jpg", "lossy.webp", "rgb.bmp", "plain.gif"}) {
    const Bytes file = read_media(name);
    if (!reads(file)) {
      EXPECT_THAT(decode_error(file), HasSubstr("this build reads no ")) << name;
    }
  }
}

/// The file with other bytes at `offset`.
Bytes patched(std::string_view name, size_t offset, std::string_view text) {
  Bytes file = read_media(name);
  const Bytes part = to_bytes(text);
  std::ranges::copy(part, file.begin() + static_cast<ptrdiff_t>(offset));
  return file;
}

TEST(Image, HugeHeadersAreRefused) {
  const auto expect_refused = [](const Bytes& file, std::string_view size) {
    if (reads(file)) {
      EXPECT_THAT(decode_error(file), AllOf(HasSubstr(size), HasSubstr("at most 100 million")));
    }
  };
  // 60000 = 0xea60. The header of a PNG ends with its checksum.
  expect_refused(
      patched("rgb.png", 16, {"\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x0f\xb0\xe2\x15", 17}),
      "60000 x 60000");
  expect_refused(patched("rgb.bmp", 18, {"\x60\xea\0\0\x60\xea\0\0", 8}), "60000 x 60000");
  expect_refused(patched("plain.gif", 6, "\x60\xea\x60\xea"), "60000 x 60000");
  const Bytes jpeg = read_media("420.jpg");
  const Bytes frame = to_bytes({"\xff\xc0\0\x11\x08", 5});
  const auto at = std::ranges::search(jpeg, frame).begin() - jpeg.begin() + 5;
  expect_refused(patched("420.jpg", static_cast<size_t>(at), "\xea\x60\xea\x60"), "60000 x 60000");
}

TEST(Image, StrayBytesBetweenSegmentsCostNothing) {
  Bytes file = read_media("420.jpg");
  if (!reads(file)) GTEST_SKIP() << "no JPEG in this build";
  const auto whole = decode_image(file, "whole");
  const auto table = std::ranges::search(file, to_bytes("\xff\xc4")).begin();
  file.insert(table, 3, std::byte{0x55});
  const auto stray = decode_image(file, "stray");
  ASSERT_TRUE(whole.ok() && stray.ok());
  EXPECT_EQ(stray->pixels, whole->pixels);
}

TEST(Image, LongStripsAreRefused) {
  // 1000001 x 1, with its checksum.
  const Bytes file = patched(
      "rgb.png", 16, {"\x00\x0f\x42\x41\x00\x00\x00\x01\x08\x02\x00\x00\x00\xf2\x7d\x6b\x21", 17});
  if (!reads(file)) GTEST_SKIP() << "no PNG in this build";
  EXPECT_THAT(decode_error(file),
              AllOf(HasSubstr("1000001 x 1 "), HasSubstr("at most 1000000 a side")));
}

TEST(Image, CutOffFilesAreErrors) {
  for (const std::string& name : media_names(kAllEndings)) {
    const Bytes file = read_media(name);
    if (!reads(file)) continue;
    // The first frame of an animation may be whole.
    const size_t n_bytes = name == "moving.gif" ? file.size() / 2 : file.size();
    for (size_t tenth = 0; tenth < 10; ++tenth) {
      const size_t n = n_bytes * tenth / 10;
      EXPECT_NE(decode_error(std::span(file).first(n)), "") << name << ", " << n << " bytes";
    }
    if (n_bytes == file.size() && !name.ends_with(".gif")) {
      EXPECT_NE(decode_error(std::span(file).first(n_bytes - 1)), "") << name;
    }
  }
}

TEST(Image, CutOffFilesSayWhatIsMissing) {
  const auto half = [](std::string_view name) {
    const Bytes file = read_media(name);
    const std::span<const std::byte> start = std::span(file).first(file.size() * 3 / 4);
    return reads(file) ? decode_error(start) : "cut off pixels bytes row of 17 of 21";
  };
  EXPECT_THAT(half("rgb.png"),
              AllOf(HasSubstr("cut off"), HasSubstr("pixels"), HasSubstr("of 17")));
  EXPECT_THAT(half("420.jpg"), AllOf(HasSubstr("cut off"), HasSubstr("row"), HasSubstr("of 21")));
  EXPECT_THAT(half("lossy.webp"), AllOf(HasSubstr("cut off"), HasSubstr("bytes")));
  EXPECT_THAT(half("rgb.bmp"), AllOf(HasSubstr("cut off"), HasSubstr("pixels")));
  EXPECT_THAT(half("plain.gif"), AllOf(HasSubstr("cut off"), HasSubstr("bytes")));
}

TEST(Image, DamagedFilesNeverCrash) {
  std::mt19937 random(48);
  size_t n_refused = 0, n = 0;
  for (const std::string& name : media_names(kAllEndings)) {
    const Bytes whole = read_media(name);
    if (!reads(whole)) continue;
    for (int round = 0; round < 60; ++round, ++n) {
      Bytes file = whole;
      for (size_t flips = 1 + random() % 8; flips > 0; --flips) {
        // Half of them near the start, where headers are.
        const size_t end = random() % 2 == 0 ? file.size() : std::min<size_t>(file.size(), 100);
        file[random() % end] ^= static_cast<std::byte>(1u << random() % 8);
      }
      n_refused += decode_error(file).empty() ? 0 : 1;
    }
  }
  EXPECT_GE(n_refused * 4, n);
}

}  // namespace
}  // namespace kimberlite::media
