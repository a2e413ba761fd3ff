#include "media/patches.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#if KIMBERLITE_JPEG
#include <jpeglib.h>  // after <cstdio>, whose FILE it uses
#endif

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "media/resize.hpp"
#include "tests/media/media_files.hpp"

namespace kimberlite::media {
namespace {

using ::testing::HasSubstr;

/// What a golden keeps of the values of a processor.
std::vector<double> kept(const Patches& patches) {
  const auto step = media_golden().header.at("step").get<size_t>();
  std::vector<double> values;
  for (size_t i = 0; i < patches.values.size(); i += step) values.push_back(patches.values[i]);
  return values;
}
std::vector<double> expected(const std::string& key) {
  std::vector<double> values = media_golden().array(key).values;
  for (double& v : values) v = static_cast<float>(v) * static_cast<float>(1.0 / 255.0);
  return values;
}

TEST(Patches, EqualTheOfficialProcessors) {
  for (const auto& [name, budget] : media_golden().header.at("processed").items()) {
    SCOPED_TRACE(name);
    const Bytes file = read_media(name);
    if (!reads(file)) continue;
    PatchOptions options{.budget = budget.get<uint32_t>(), .order = PatchOrder::interleaved};
    const auto whole = decode_patches(file, name, options);
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    const auto& grid = media_golden().array("grid." + name).values;
    EXPECT_EQ(whole->n_x, grid[0]);
    EXPECT_EQ(whole->n_y, grid[1]);
    EXPECT_EQ(kept(*whole), expected("unified." + name));
    const auto& means = media_golden().array("means." + name).values;
    ASSERT_EQ(whole->values.size(), means.size() * 6912);
    for (size_t i = 0; i < means.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < 6912; ++j) sum += static_cast<double>(whole->values[i * 6912 + j]);
      EXPECT_NEAR(sum / 6912, means[i], 1e-9) << i;
    }
    options.patch_side = 16;
    const auto small = decode_patches(file, name, options);
    ASSERT_TRUE(small.ok()) << small.error().message;
    EXPECT_EQ(small->n_x, 3 * whole->n_x);
    EXPECT_EQ(kept(*small), expected("classic." + name));
  }
}

TEST(Patches, PlanarHoldsTheSameValues) {
  const Bytes file = read_media("rgb.png");
  if (!reads(file)) GTEST_SKIP() << "no PNG in this build";
  for (const uint32_t side : {16u, 48u}) {
    PatchOptions options{.budget = 70, .patch_side = side};
    const auto planar = decode_patches(file, "rgb.png", options);
    options.order = PatchOrder::interleaved;
    const auto interleaved = decode_patches(file, "rgb.png", options);
    ASSERT_TRUE(planar.ok() && interleaved.ok());
    const size_t area = size_t{side} * side;
    for (size_t i = 0; i < planar->values.size(); ++i) {
      const size_t patch = i / (3 * area), channel = i % (3 * area) / area, pixel = i % area;
      ASSERT_EQ(planar->values[i], interleaved->values[patch * 3 * area + pixel * 3 + channel]);
    }
  }
}

TEST(Patches, OfADecodedPictureAreTheSame) {
  for (const std::string& name : media_names({".jpg", ".png", ".webp"})) {
    const Bytes file = read_media(name);
    if (!reads(file)) continue;
    const PatchOptions options{.budget = 70};
    const auto image = decode_image(file, name);
    ASSERT_TRUE(image.ok()) << image.error().message;
    const auto from_image = make_patches(*image, options);
    const auto from_rows = decode_patches(file, name, options);
    ASSERT_TRUE(from_image.ok() && from_rows.ok());
    EXPECT_EQ(from_image->n_x, from_rows->n_x) << name;
    EXPECT_EQ(from_image->values, from_rows->values) << name;
  }
}

#if KIMBERLITE_JPEG

/// A JPEG of slopes that is never in memory as pixels.
Bytes large_jpeg(uint32_t width, uint32_t height) {
  jpeg_error_mgr errors = {};
  jpeg_compress_struct info = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long n_bytes = 0;
  jpeg_mem_dest(&info, &out, &n_bytes);
  info.image_width = width;
  info.image_height = height;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row(size_t{3} * width);
  for (uint32_t y = 0; y < height; ++y) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<uint8_t>((i + y) / 128);
    JSAMPROW rows[1] = {row.data()};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  const auto bytes = std::as_bytes(std::span(out, n_bytes));
  Bytes file(bytes.begin(), bytes.end());
  jpeg_destroy_compress(&info);
  std::free(out);
  return file;
}

TEST(Patches, OfALargeJpegNeedLittleMemory) {
  const Bytes file = large_jpeg(8000, 6000);
  const uint64_t before = os::peak_resident_bytes();
  const auto patches = decode_patches(file, "large.jpg", {.budget = 280});
  ASSERT_TRUE(patches.ok()) << patches.error().message;
  EXPECT_EQ(patches->n_x * patches->n_y, 19u * 14u);
  // The pixels alone are 144 MB, the patches 7.4 MB.
  EXPECT_LT(os::peak_resident_bytes() - before, 24 * kMiB);
}

#endif

TEST(Patches, OfAPictureInTheRightSizeAreItsPixels) {
  Image image{480, 336, std::vector<uint8_t>(size_t{3} * 480 * 336)};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 7);
  const auto patches = make_patches(image, {.budget = 70, .patch_side = 16});
  ASSERT_TRUE(patches.ok()) << patches.error().message;
  ASSERT_EQ(patches->n_x, 30u);
  ASSERT_EQ(patches->n_y, 21u);
  for (size_t y = 0; y < 336; ++y) {
    for (size_t x = 0; x < 480; ++x) {
      const float* patch = patches->values.data() + (y / 16 * 30 + x / 16) * 768;
      for (size_t c = 0; c < 3; ++c) {
        const float value = patch[c * 256 + y % 16 * 16 + x % 16];
        ASSERT_EQ(std::lround(value * 255), image.pixels[3 * (y * 480 + x) + c]) << x << " " << y;
      }
    }
  }
}

TEST(Patches, OptionsThatNoProjectorTakes) {
  const Image image{1, 1, {0, 0, 0}};
  const auto message = [&](const PatchOptions& options) {
    const auto patches = make_patches(image, options);
    return patches.ok() ? "" : patches.error().message;
  };
  EXPECT_THAT(message({.budget = 300}), HasSubstr("budget 300: may be auto or 70, 140"));
  EXPECT_THAT(message({.budget = kAutoImageBudget, .auto_at_most = 7}), HasSubstr("budget 7"));
  EXPECT_THAT(message({.patch_side = 32}), HasSubstr("32 pixels"));
}

TEST(Resize, EqualsTorchvision) {
  size_t n_cases = 0;
  for (const auto& [key, array] : media_golden().arrays) {
    if (!key.starts_with("resize.")) continue;
    const std::string from = key.substr(7, key.rfind('.') - 7);
    const auto& scene = media_golden().array("scene." + from);
    const ImageHeader header{
        static_cast<uint32_t>(scene.shape[1]), static_cast<uint32_t>(scene.shape[0]), {}};
    Resizer resizer(header, static_cast<uint32_t>(array.shape[1]),
                    static_cast<uint32_t>(array.shape[0]));
    const std::vector<uint8_t> pixels(scene.values.begin(), scene.values.end());
    for (size_t y = 0; y < header.height; ++y) resizer.row(pixels.data() + y * header.width * 3);
    const Image small = resizer.take();
    EXPECT_EQ(std::vector<double>(small.pixels.begin(), small.pixels.end()), array.values) << key;
    ++n_cases;
  }
  EXPECT_EQ(n_cases, 7u);
}

TEST(Budget, SizesEqualTheOfficialRule) {
  const auto& sizes = media_golden().array("sizes");
  const auto& grids = media_golden().array("grids");
  const auto as_u32 = [](double value) { return static_cast<uint32_t>(value); };
  ASSERT_EQ(sizes.shape[0], 500u);
  for (size_t i = 0; i < 500; ++i) {
    const PixelSize size{as_u32(sizes.values[2 * i]), as_u32(sizes.values[2 * i + 1])};
    for (size_t b = 0; b < kImageBudgets.size(); ++b) {
      const auto fitted = fit_to_budget(size, kImageBudgets[b]);
      ASSERT_TRUE(fitted.ok()) << fitted.error().message;
      const double* grid = grids.values.data() + 2 * (i * kImageBudgets.size() + b);
      EXPECT_EQ(fitted->width, as_u32(grid[0]) * kTokenSide) << size.width << "x" << size.height;
      EXPECT_EQ(fitted->height, as_u32(grid[1]) * kTokenSide) << size.width << "x" << size.height;
    }
  }
}

TEST(Budget, AutoIsTheSmallestThatKeepsThePixels) {
  EXPECT_EQ(pick_budget({1, 1}, 280), 70u);
  EXPECT_EQ(pick_budget({480, 336}, 280), 70u);  // 70 tokens, exactly
  EXPECT_EQ(pick_budget({480, 337}, 280), 140u);
  EXPECT_EQ(pick_budget({800, 600}, 280), 280u);
  EXPECT_EQ(pick_budget({8000, 6000}, 280), 280u);
  EXPECT_EQ(pick_budget({8000, 6000}, 1120), 1120u);
  EXPECT_EQ(pick_budget({1200, 1000}, 1120), 560u);
  EXPECT_EQ(pick_budget({800, 600}, 70), 70u);
  const auto patches = make_patches({2, 1, {0, 0, 0, 9, 9, 9}}, {.budget = kAutoImageBudget});
  ASSERT_TRUE(patches.ok());
  EXPECT_EQ(patches->budget, 70u);
  EXPECT_EQ(patches->source.width, 2u);
  EXPECT_EQ(patches->source.height, 1u);
}

}  // namespace
}  // namespace kimberlite::media
