#include "media/mel.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>

#include "base/result.hpp"
#include "media/frames.hpp"

namespace kimberlite::media {
namespace {

constexpr uint32_t kFft = 512;
constexpr uint32_t kFftBits = 9;
constexpr uint32_t kBins = kFft / 2 + 1;
constexpr double kTopHertz = kSampleRate / 2.0;
constexpr double kFloor = 1e-3;

using Spectrum = std::array<std::complex<double>, kFft>;

double mel_of(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }
double hertz_of(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

/// A triangle over neighbouring bins of the spectrum.
struct Filter {
  uint32_t first = 0;
  std::vector<double> weights;
};

/// Everything that does not depend on the sound.
class MelTables {
 public:
  MelTables() {
    for (uint32_t i = 0; i < kMelWindow; ++i) {
      window_[i] = static_cast<float>(0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / kMelWindow));
    }
    for (uint32_t i = 0; i < kFft / 2; ++i) {
      roots_[i] = std::polar(1.0, -2 * std::numbers::pi * i / kFft);
    }
    for (uint32_t i = 0; i < kFft; ++i) {
      uint32_t reversed = 0;
      for (uint32_t bit = 0; bit < kFftBits; ++bit)
        reversed |= (i >> bit & 1) << (kFftBits - 1 - bit);
      order_[i] = reversed;
    }
    make_filters();
  }

  /// Magnitudes of the first kBins frequencies of `samples`, silence where they end.
  void transform(std::span<const float> samples, std::span<double> magnitudes) const {
    Spectrum values{};
    for (uint32_t i = 0; i < samples.size(); ++i) {
      const float windowed = samples[i] * window_[i];
      values[order_[i]] = static_cast<double>(windowed);
    }
    for (uint32_t half = 1; half < kFft; half *= 2) {
      for (uint32_t first = 0; first < kFft; first += 2 * half) {
        for (uint32_t i = 0; i < half; ++i) {
          std::complex<double>& low = values[first + i];
          std::complex<double>& high = values[first + half + i];
          const std::complex<double> root = roots_[i * (kFft / 2 / half)];
          // std::complex's product looks for infinities, which takes most of the time.
          const std::complex<double> turned(high.real() * root.real() - high.imag() * root.imag(),
                                            high.real() * root.imag() + high.imag() * root.real());
          high = low - turned;
          low += turned;
        }
      }
    }
    for (uint32_t i = 0; i < kBins; ++i) {
      magnitudes[i] = std::sqrt(std::norm(values[i]));
    }
  }

  [[nodiscard]] const std::array<Filter, kMelBins>& filters() const { return filters_; }

 private:
  /// Triangle m rises from edge m to edge m + 1 and falls to edge m + 2, linear in hertz.
  void make_filters() {
    std::array<double, kMelBins + 2> edges{};
    const double top = mel_of(kTopHertz);
    for (uint32_t i = 0; i < edges.size(); ++i) edges[i] = hertz_of(top * i / (kMelBins + 1));
    for (uint32_t m = 0; m < kMelBins; ++m) {
      Filter& filter = filters_[m];
      for (uint32_t bin = 0; bin < kBins; ++bin) {
        const double hertz = kTopHertz * bin / (kBins - 1);
        const double rise = (hertz - edges[m]) / (edges[m + 1] - edges[m]);
        const double fall = (edges[m + 2] - hertz) / (edges[m + 2] - edges[m + 1]);
        const double weight = std::min(rise, fall);
        if (weight <= 0) continue;
        if (filter.weights.empty()) filter.first = bin;
        filter.weights.push_back(weight);
      }
    }
  }

  std::array<float, kMelWindow> window_{};
  std::array<std::complex<double>, kFft / 2> roots_{};
  std::array<uint32_t, kFft> order_{};  // of values before the transform: bits reversed
  std::array<Filter, kMelBins> filters_{};
};

}  // namespace

uint32_t count_mel_frames(uint64_t n_samples) {
  if (n_samples < kMinMelSamples) return 0;
  return static_cast<uint32_t>((n_samples - kMinMelSamples) / kMelHop) + 1;
}

MelFrames make_mel(std::span<const float> samples) {
  KL_CHECK(samples.size() <= size_t{kMaxPieceSeconds} * kSampleRate, "a piece of split_audio()");
  const MelTables tables;
  MelFrames frames;
  frames.n = count_mel_frames(samples.size());
  frames.values.reserve(size_t{frames.n} * kMelBins);
  std::array<float, kMelWindow> window{};
  std::array<double, kBins> magnitudes{};
  for (uint32_t frame = 0; frame < frames.n; ++frame) {
    // The first window starts half a window before the sound.
    const size_t skipped = frame == 0 ? kMelHop : 0;
    const size_t first = size_t{frame} * kMelHop + skipped - kMelHop;
    std::ranges::copy(samples.subspan(first, kMelWindow - skipped),
                      window.begin() + static_cast<std::ptrdiff_t>(skipped));
    tables.transform(window, magnitudes);
    for (const Filter& filter : tables.filters()) {
      double sum = 0;
      for (size_t i = 0; i < filter.weights.size(); ++i) {
        sum += magnitudes[filter.first + i] * filter.weights[i];
      }
      frames.values.push_back(static_cast<float>(std::log(sum + kFloor)));
    }
  }
  return frames;
}

}  // namespace kimberlite::media
