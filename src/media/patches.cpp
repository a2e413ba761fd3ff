#include "media/patches.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/mapped_file.hpp"
#include "media/image_rows.hpp"
#include "media/resize.hpp"

namespace kimberlite::media {
namespace {

Status check_options(const PatchOptions& options) {
  const auto is_budget = [](uint32_t n) { return std::ranges::count(kImageBudgets, n) == 1; };
  const uint32_t budget =
      options.budget == kAutoImageBudget ? options.auto_at_most : options.budget;
  if (!is_budget(budget)) {
    return Error{ErrorCode::invalid_argument, fmt::format("image budget {}: may be auto or {}",
                                                          budget, fmt::join(kImageBudgets, ", "))};
  }
  if (options.patch_side != kTokenSide && options.patch_side != kTokenSide / 3) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("patches of {} pixels: may be {} or {}", options.patch_side,
                             kTokenSide, kTokenSide / 3)};
  }
  return {};
}

/// Resizes to what the options say while rows come.
class PatchSink final : public RowSink {
 public:
  explicit PatchSink(const PatchOptions& options) : options_(options) {}

  Status begin(const ImageHeader& header) override {
    source_ = {header.shown_width(), header.shown_height()};
    budget_ = options_.budget == kAutoImageBudget ? pick_budget(source_, options_.auto_at_most)
                                                  : options_.budget;
    KL_ASSIGN(const PixelSize size, fit_to_budget(source_, budget_));
    resizer_.emplace(header, size.width, size.height);
    return {};
  }
  void row(const uint8_t* rgb) override { resizer_->row(rgb); }

  Patches take() {
    const Image image = resizer_->take();
    const uint32_t side = options_.patch_side;
    Patches patches;
    patches.n_x = image.width / side;
    patches.n_y = image.height / side;
    patches.budget = budget_;
    patches.source = source_;
    patches.values.resize(image.pixels.size());
    const bool planar = options_.order == PatchOrder::planar;
    const size_t channel_step = planar ? size_t{side} * side : 1;
    const size_t pixel_step = planar ? 1 : 3;
    for (size_t y = 0; y < image.height; ++y) {
      for (size_t x = 0; x < image.width; ++x) {
        const size_t patch = y / side * patches.n_x + x / side;
        float* value = patches.values.data() + patch * 3 * side * side +
                       (y % side * side + x % side) * pixel_step;
        const uint8_t* pixel = image.pixels.data() + 3 * (y * image.width + x);
        for (size_t c = 0; c < 3; ++c) value[c * channel_step] = to_unit(pixel[c]);
      }
    }
    return patches;
  }

 private:
  /// A product, not a quotient: so the official processor rounds it.
  static float to_unit(uint8_t value) {
    return static_cast<float>(value) * static_cast<float>(1.0 / 255.0);
  }

  PatchOptions options_;
  uint32_t budget_ = 0;
  PixelSize source_;
  std::optional<Resizer> resizer_;
};

}  // namespace

Result<PixelSize> fit_to_budget(PixelSize picture, uint32_t budget) {
  KL_TRY(check_options({.budget = budget, .auto_at_most = budget}));
  if (picture.width == 0 || picture.height == 0) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("a picture of {} x {} pixels", picture.width, picture.height)};
  }
  // Double precision and this order of operations decide how ties of whole tokens fall.
  const double width = picture.width, height = picture.height, side = kTokenSide;
  const double factor = std::sqrt(static_cast<double>(budget) * side * side / (height * width));
  const auto whole = [&](double length) {
    return static_cast<uint32_t>(std::floor(factor * length / side));
  };
  const auto strip = [&](double longer, double shorter) {
    return static_cast<uint32_t>(std::min<double>(std::floor(longer / shorter), budget));
  };
  uint32_t n_x = whole(width), n_y = whole(height);
  if (n_y == 0) {
    n_y = 1;
    n_x = strip(width, height);
  } else if (n_x == 0) {
    n_x = 1;
    n_y = strip(height, width);
  }
  KL_CHECK(uint64_t{n_x} * n_y <= budget, "whole tokens of a picture that has the budget's area");
  return PixelSize{n_x * kTokenSide, n_y * kTokenSide};
}

uint32_t pick_budget(PixelSize picture, uint32_t at_most) {
  const uint64_t n_pixels = uint64_t{picture.width} * picture.height;
  for (const uint32_t budget : kImageBudgets) {
    if (budget >= at_most || n_pixels <= uint64_t{budget} * kTokenSide * kTokenSide) {
      return std::min(budget, at_most);
    }
  }
  return at_most;
}

Result<Patches> make_patches(const Image& image, const PatchOptions& options) {
  KL_TRY(check_options(options));
  PatchSink sink(options);
  const ImageHeader header{image.width, image.height, {}};
  KL_TRY(sink.begin(header));
  send_rows(sink, image.pixels.data(), header, 3);
  return sink.take();
}

Result<Patches> decode_patches(std::span<const std::byte> bytes, std::string_view name,
                               const PatchOptions& options) {
  KL_TRY(check_options(options));
  PatchSink sink(options);
  KL_TRY(decode_rows(bytes, name, sink));
  return sink.take();
}

Result<Patches> read_patches_file(const std::string& path, const PatchOptions& options) {
  KL_ASSIGN(const MappedFile file, MappedFile::open(path));
  return decode_patches(file.bytes(), path, options);
}

}  // namespace kimberlite::media
