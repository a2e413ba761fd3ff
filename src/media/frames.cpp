#include "media/frames.hpp"

#include <algorithm>

#include "base/numeric.hpp"
#include "base/result.hpp"

namespace kimberlite::media {
namespace {

constexpr size_t kPieceSamples = size_t{kMaxPieceSeconds} * kSampleRate;
constexpr size_t kSearchSamples = size_t{10} * kSampleRate;
constexpr size_t kHopSamples = kSampleRate / 100;
constexpr size_t kWindowHops = 10;

/// Where to cut `samples`, which are as many as are searched; from the start.
size_t pick_cut(std::span<const float> samples) {
  const size_t n_hops = samples.size() / kHopSamples;
  std::vector<double> hops(n_hops), windows(n_hops - kWindowHops + 1);
  for (size_t i = 0; i < n_hops; ++i) {
    for (const float x : samples.subspan(i * kHopSamples, kHopSamples)) {
      hops[i] += static_cast<double>(x) * static_cast<double>(x);
    }
  }
  for (size_t i = 0; i < windows.size(); ++i) {
    for (size_t k = 0; k < kWindowHops; ++k) windows[i] += hops[i + k];
  }
  constexpr double kSilence = 1e-8 * kHopSamples * kWindowHops;  // -80 dB
  const double limit = std::max(2 * *std::ranges::min_element(windows), kSilence);
  size_t best_first = 0, best_count = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    size_t count = 0;
    while (i + count < windows.size() && windows[i + count] <= limit) ++count;
    if (count >= best_count && count > 0) {
      best_first = i;
      best_count = count;
    }
    i += count;
  }
  const size_t end = best_first + best_count - 1 + kWindowHops;  // hops that the stretch covers
  return (best_first + end) * kHopSamples / 2;
}

}  // namespace

Frames make_frames(std::span<const float> samples) {
  Frames frames;
  KL_CHECK(samples.size() <= size_t{kMaxAudioSeconds} * kSampleRate, "what decode_audio() returns");
  frames.n = div_up(static_cast<uint32_t>(samples.size()), kFrameSamples);
  frames.values.assign(samples.begin(), samples.end());
  frames.values.resize(size_t{frames.n} * kFrameSamples);
  return frames;
}

std::vector<std::span<const float>> split_audio(std::span<const float> samples) {
  std::vector<std::span<const float>> pieces;
  while (samples.size() > kPieceSamples) {
    const size_t searched = kPieceSamples - kSearchSamples;
    const size_t cut = searched + pick_cut(samples.subspan(searched, kSearchSamples));
    pieces.push_back(samples.first(cut));
    samples = samples.subspan(cut);
  }
  if (!samples.empty()) pieces.push_back(samples);
  return pieces;
}

}  // namespace kimberlite::media
