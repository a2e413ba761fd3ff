#include "kernels/conformer_reference.hpp"

#include <algorithm>
#include <cmath>

namespace kimberlite::kernels::reference {
namespace {

constexpr double kRounding = 0x1p-24;  // of a float32 operation, relative
constexpr double kTiny = 1e-30;        // far above what a device may flush to zero
// An exponential within 2 ulp, its sum with 1, a division.
constexpr double kSigmoidRoundings = 8;

double roundings(uint64_t n_terms) { return std::sqrt(static_cast<double>(n_terms)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// A sum of products and what its magnitudes are.
struct Sum {
  double value = 0;
  double magnitude = 0;
  uint64_t n_terms = 0;

  void add(double term) {
    value += term;
    magnitude += std::abs(term);
    ++n_terms;
  }
  [[nodiscard]] double bound(double more = 0) const {
    return (2 + more + roundings(n_terms)) * kRounding * magnitude;
  }
};

/// One value before the norm.
Sum convolve(const Conv2dArgs& args, uint64_t t, uint64_t f, uint64_t c) {
  const uint64_t c_out = args.weight.size();
  const uint64_t c_in = args.taps.size() / 9 / c_out;
  Sum sum;
  for (uint64_t place = 0; place < 9; ++place) {
    const uint64_t frame = 2 * t + place / 3 - 1;  // wraps where it is -1
    const uint64_t column = 2 * f + place % 3 - 1;
    if (frame >= args.n_frames || column >= args.width) continue;
    for (uint64_t k = 0; k < c_in; ++k) {
      sum.add(double{args.x[(frame * args.width + column) * c_in + k]} *
              double{args.taps[(place * c_in + k) * c_out + c]});
    }
  }
  return sum;
}

/// The norm of one place's channels.
void add_normed(const std::vector<Sum>& v, const Conv2dArgs& args, Expected& y) {
  const auto n = static_cast<double>(v.size());
  double mean = 0, magnitude = 0, squares = 0, off_squares = 0;
  for (const Sum& sum : v) {
    mean += sum.value / n;
    magnitude += std::abs(sum.value) / n;
    off_squares += sum.bound() * sum.bound() / n;
  }
  for (const Sum& sum : v) squares += (sum.value - mean) * (sum.value - mean) / n;
  const double deviation = std::sqrt(squares + double{args.eps});
  const double mean_off = (4 + roundings(v.size())) * kRounding * magnitude;
  const double deviation_off = (std::sqrt(off_squares) + mean_off) / deviation;
  for (size_t c = 0; c < v.size(); ++c) {
    const double scaled = (v[c].value - mean) / deviation * args.weight[c];
    const double off = (v[c].bound() + mean_off) / deviation * std::abs(args.weight[c]) +
                       std::abs(scaled) * (deviation_off + (8 + roundings(v.size())) * kRounding);
    y.add(std::max(scaled, 0.0), off + kTiny);
  }
}

}  // namespace

Expected silu(std::span<const float> x) {
  Expected y;
  for (const float value : x) {
    const double result = value * sigmoid(value);
    y.add(result, std::abs(result) * kSigmoidRoundings * kRounding + kTiny);
  }
  return y;
}

Expected conv2d(const Conv2dArgs& args) {
  Expected y;
  std::vector<Sum> v(args.weight.size());
  for (uint64_t t = 0; t < args.n_out; ++t) {
    for (uint64_t f = 0; f < args.width / 2; ++f) {
      for (uint64_t c = 0; c < v.size(); ++c) v[c] = convolve(args, t, f, c);
      add_normed(v, args, y);
    }
  }
  return y;
}

Expected local_attention(const LocalAttentionArgs& args) {
  const uint64_t d = args.scale.size();
  const uint64_t row = args.n_heads * d;
  Expected y;
  std::vector<double> weights(args.window);
  for (uint64_t at = 0; at < args.q.size(); at += d) {
    const uint64_t n_seen = std::min(at / row + 1, args.window);
    double worst = 0, total = 0;
    for (uint64_t j = 0; j < n_seen; ++j) {
      Sum sum;
      for (uint64_t i = 0; i < d; ++i) {
        const double query = double{args.q[at + i]} * double{args.scale[i]};
        sum.add(query * args.k[at - j * row + i] * double{args.k_scale});
        sum.add(query * args.relative[j * row + at % row + i]);
      }
      const double logit = args.cap * std::tanh(sum.value / args.cap);
      worst = std::max(worst, sum.bound(3) + std::abs(logit) * 8 * kRounding);
      weights[j] = std::exp(logit);
      total += weights[j];
    }
    for (uint64_t i = 0; i < d; ++i) {
      Sum sum;
      for (uint64_t j = 0; j < n_seen; ++j) {
        sum.add(weights[j] / total * args.v[at - j * row + i]);
      }
      // Each weight is off by as much as its logit and the best one, and so is their sum.
      y.add(sum.value, sum.bound(12) + 4 * worst * sum.magnitude + kTiny);
    }
  }
  return y;
}

Expected light_conv(std::span<const float> x, std::span<const float> taps,
                    std::span<const float> weight, float eps) {
  const uint64_t width = weight.size();
  const uint64_t n_taps = taps.size() / width;
  Expected convolved;
  for (uint64_t t = 0; t < x.size() / (2 * width); ++t) {
    for (uint64_t i = 0; i < width; ++i) {
      Sum sum;
      for (uint64_t j = 0; j < n_taps; ++j) {
        const uint64_t row = t + j - (n_taps - 1);
        if (row > t) continue;  // before the first one
        const double gate = sigmoid(x[(2 * row + 1) * width + i]);
        sum.add(double{taps[j * width + i]} * double{x[2 * row * width + i]} * gate);
      }
      convolved.add(sum.value, sum.bound(kSigmoidRoundings));
    }
  }
  const Expected normed = rms_norm(convolved, weight, eps);
  Expected y;
  for (size_t i = 0; i < normed.values.size(); ++i) {
    const double result = normed.values[i] * sigmoid(normed.values[i]);
    // SiLU is nowhere steeper than 1.1.
    y.add(result,
          1.1 * normed.bounds[i] + std::abs(result) * kSigmoidRoundings * kRounding + kTiny);
  }
  return y;
}

}  // namespace kimberlite::kernels::reference
