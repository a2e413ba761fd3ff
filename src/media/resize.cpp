#include "media/resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace kimberlite::media {
namespace {

/// Keys' cubic with a = -0.5.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0;
}

uint8_t to_byte(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255));
}

}  // namespace

AxisTaps::AxisTaps(uint32_t n_input, uint32_t n_output) : n_in(n_input), n_out(n_output) {
  const double scale = static_cast<double>(n_in) / n_out;
  const double support = scale >= 1 ? 2 * scale : 2;
  const double inverse = scale >= 1 ? 1 / scale : 1;
  stride = static_cast<uint32_t>(std::ceil(support)) * 2 + 1;
  begin.resize(n_out);
  count.resize(n_out);
  std::vector<double> exact(size_t{n_out} * stride);
  double largest = 0;
  for (uint32_t i = 0; i < n_out; ++i) {
    const double center = scale * (i + 0.5);
    const auto first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), n_in);
    begin[i] = static_cast<uint32_t>(first);
    count[i] = static_cast<uint32_t>(std::clamp<int64_t>(end - first, 0, stride));
    double* row = exact.data() + size_t{i} * stride;
    double total = 0;
    for (uint32_t k = 0; k < count[i]; ++k) {
      row[k] = cubic((static_cast<double>(k + first) - center + 0.5) * inverse);
      total += row[k];
    }
    for (uint32_t k = 0; k < count[i] && total != 0; ++k) {
      row[k] /= total;
      largest = std::max(largest, row[k]);
    }
  }
  // As many bits as the largest weight leaves in 16.
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15)) {
    ++precision;
  }
  weights.resize(exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    const double scaled = exact[i] * (1 << precision);
    weights[i] = static_cast<int16_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  }
}

void AxisTaps::reverse() {
  for (uint32_t i = 0; i < n_out; ++i) {
    begin[i] = n_in - (begin[i] + count[i]);
    int16_t* row = weights.data() + size_t{i} * stride;
    std::reverse(row, row + count[i]);
  }
  std::reverse(begin.begin(), begin.end());
  std::reverse(count.begin(), count.end());
  for (uint32_t i = 0; i < n_out / 2; ++i) {
    int16_t* row = weights.data() + size_t{i} * stride;
    std::swap_ranges(row, row + stride, weights.data() + size_t{n_out - 1 - i} * stride);
  }
}

Resizer::Resizer(const ImageHeader& header, uint32_t width, uint32_t height) : header_(header) {
  const bool transpose = header.orientation.transpose;
  across_ = AxisTaps(header.width, transpose ? height : width);
  along_ = AxisTaps(header.height, transpose ? width : height);
  if (header.orientation.flip_rows) across_.reverse();
  if (header.orientation.flip_columns) along_.reverse();
  image_.width = width;
  image_.height = height;
  image_.pixels.resize(size_t{3} * width * height);
  const size_t n_across = transpose ? across_.n_in : across_.n_out;
  // Outputs that are open at once: those that have begun by the time the first of them ends.
  uint32_t n_open = 1;
  for (uint32_t i = 0, first = 0; i < along_.n_out; ++i) {
    while (along_.begin[first] + along_.count[first] <= along_.begin[i]) ++first;
    n_open = std::max(n_open, i - first + 1);
  }
  sums_.assign(n_open, std::vector<int32_t>(3 * n_across));
  narrow_.resize(size_t{3} * across_.n_out);
  finished_.resize(3 * n_across);
  resized_.resize(size_t{3} * across_.n_out);
}

void Resizer::row(const uint8_t* rgb) {
  // The axis shown across comes first: stored rows, or of a transposed picture stored columns.
  if (header_.orientation.transpose) {
    add_to_columns(rgb);
  } else {
    resize_row(rgb, narrow_.data());
    add_to_columns(narrow_.data());
  }
}

void Resizer::add_to_columns(const uint8_t* row) {
  const uint32_t at = n_rows_++;
  const auto open = [this](uint32_t i) -> std::vector<int32_t>& { return sums_[i % sums_.size()]; };
  while (n_opened_ < along_.n_out && along_.begin[n_opened_] <= at) {
    std::ranges::fill(open(n_opened_++), 1 << (along_.precision - 1));
  }
  for (uint32_t i = n_finished_; i < n_opened_; ++i) {
    const uint32_t k = at - along_.begin[i];
    if (k >= along_.count[i]) continue;
    const int32_t weight = along_.weights[size_t{i} * along_.stride + k];
    int32_t* sum = open(i).data();
    const size_t n = open(i).size();
    for (size_t j = 0; j < n; ++j) sum[j] += weight * row[j];
  }
  while (n_finished_ < n_opened_ &&
         along_.begin[n_finished_] + along_.count[n_finished_] <= n_rows_) {
    finish_column_sum(open(n_finished_));
    ++n_finished_;
  }
}

void Resizer::finish_column_sum(const std::vector<int32_t>& sums) {
  for (size_t j = 0; j < sums.size(); ++j) finished_[j] = to_byte(sums[j], along_.precision);
  if (header_.orientation.transpose) {
    resize_row(finished_.data(), resized_.data());
    put_row(resized_.data(), n_finished_);
  } else {
    put_row(finished_.data(), n_finished_);
  }
}

void Resizer::resize_row(const uint8_t* in, uint8_t* out) const {
  const int32_t half = 1 << (across_.precision - 1);
  for (uint32_t i = 0; i < across_.n_out; ++i) {
    const uint8_t* pixel = in + size_t{3} * across_.begin[i];
    const int16_t* weight = across_.weights.data() + size_t{i} * across_.stride;
    int32_t r = half, g = half, b = half;
    for (uint32_t k = 0; k < across_.count[i]; ++k, pixel += 3) {
      r += weight[k] * pixel[0];
      g += weight[k] * pixel[1];
      b += weight[k] * pixel[2];
    }
    out[3 * i] = to_byte(r, across_.precision);
    out[3 * i + 1] = to_byte(g, across_.precision);
    out[3 * i + 2] = to_byte(b, across_.precision);
  }
}

void Resizer::put_row(const uint8_t* row, uint32_t along) {
  const auto [flip_rows, flip_columns, transpose] = header_.orientation;
  const size_t shown_along = flip_columns ? along_.n_out - 1 - along : along;
  for (size_t i = 0; i < across_.n_out; ++i) {
    const size_t shown_across = flip_rows ? across_.n_out - 1 - i : i;
    const size_t x = transpose ? shown_along : shown_across;
    const size_t y = transpose ? shown_across : shown_along;
    std::memcpy(image_.pixels.data() + 3 * (y * image_.width + x), row + 3 * i, 3);
  }
}

Image Resizer::take() { return std::move(image_); }

}  // namespace kimberlite::media
