// Bicubic resizing with anti-aliasing, bit by bit as PyTorch resizes 8-bit pictures (torchvision's
// resize with antialias, which Gemma 4's image processor calls): 16-bit fixed-point weights, rows
// first, rounded to 8 bits, then columns.
#pragma once

#include <cstdint>
#include <vector>

#include "media/image.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {

/// Which source samples make each sample of a resized axis: output i is the sum of
/// weights[i * stride + k] * in[begin[i] + k] over k < count[i], in units of 2^-precision.
struct AxisTaps {
  AxisTaps() = default;
  AxisTaps(uint32_t n_in, uint32_t n_out);
  /// The same for an axis whose samples, in and out, are counted from the other end.
  void reverse();

  uint32_t n_in = 0;
  uint32_t n_out = 0;
  uint32_t stride = 0;
  int precision = 0;
  std::vector<uint32_t> begin;
  std::vector<uint32_t> count;
  std::vector<int16_t> weights;
};

/// Takes the rows of a picture as they are decoded and keeps the turned, resized picture and a few
/// rows of sums. Turning comes before resizing.
class Resizer {
 public:
  Resizer(const ImageHeader& header, uint32_t width, uint32_t height);

  void row(const uint8_t* rgb);
  Image take();

 private:
  void add_to_columns(const uint8_t* row);
  void finish_column_sum(const std::vector<int32_t>& sums);
  void resize_row(const uint8_t* in, uint8_t* out) const;
  void put_row(const uint8_t* row, uint32_t along);

  ImageHeader header_;
  AxisTaps across_;  // along a stored row
  AxisTaps along_;   // from stored row to stored row
  Image image_;
  uint32_t n_rows_ = 0;    // taken
  uint32_t n_opened_ = 0;  // outputs of along_ that have begun, and those that are complete
  uint32_t n_finished_ = 0;
  std::vector<std::vector<int32_t>> sums_;  // of the open ones, output i in i % size
  std::vector<uint8_t> narrow_, finished_, resized_;
};

}  // namespace kimberlite::media
