// Mel spectrograms against the official feature extractor.
#include "media/mel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "media/frames.hpp"
#include "support/golden.hpp"

namespace kimberlite::media {
namespace {

using testing::Golden;
using testing::GoldenArray;

constexpr size_t kLongest = size_t{kMaxPieceSeconds} * kSampleRate;

Golden load() {
  auto golden = Golden::load("mel");
  KL_CHECK(golden.ok(), "tests/golden/mel");
  return std::move(golden).value();
}

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// The hash stream "mel" of seed 1 (tools/README.md), every tenth of a second half as loud.
float noise(size_t i) {
  constexpr uint64_t kPhi = 0x9E3779B97F4A7C15u;
  uint64_t name = 0xCBF29CE484222325u;
  for (const char c : {'m', 'e', 'l'}) name = (name ^ static_cast<uint64_t>(c)) * 0x100000001B3u;
  static const uint64_t key = mix(name ^ mix(1 + kPhi));
  const auto top = static_cast<int64_t>(mix(key + (i + 1) * kPhi) >> 40) - (1 << 23);
  return std::ldexp(static_cast<float>(top), -23 - static_cast<int>(i / 1600 % 12));
}
float square(size_t i) { return i / 18 % 2 == 0 ? 0.25f : -0.25f; }
float silence(size_t) { return 0.0f; }

struct Signal {
  const char* name;
  float (*sample)(size_t);
};
constexpr Signal kSignals[] = {{"noise", noise}, {"square", square}, {"silence", silence}};

std::vector<float> make_samples(const Signal& signal, size_t n) {
  std::vector<float> samples(n);
  for (size_t i = 0; i < n; ++i) samples[i] = signal.sample(i);
  return samples;
}

/// What the official transform, in float32, may be off: log2(512) roundings of the frame's norm in
/// each of its magnitudes, of which a triangle weighs at most `kWeights`; and the result's
/// rounding.
double tolerance(std::span<const float> samples, uint32_t frame, double value) {
  constexpr double kEps = 0x1p-24;
  constexpr double kWeights = 6;
  double squares = 0;
  const size_t first = frame == 0 ? 0 : (frame - 1) * size_t{kMelHop};
  for (const float x : samples.subspan(first, size_t{frame + 1} * kMelHop - first)) {
    squares += double{x} * double{x};
  }
  return 9 * kEps * std::sqrt(squares) * kWeights / std::exp(value) + 2 * kEps * std::abs(value) +
         1e-7;
}

TEST(Mel, FramesAreTheOfficialOnes) {
  const Golden golden = load();
  double worst = 0;
  for (const Signal& signal : kSignals) {
    auto lengths = golden.header.at("short").get<std::vector<size_t>>();
    lengths.push_back(kLongest);
    for (const size_t n : lengths) {
      const std::string name = std::string(signal.name) + "." + std::to_string(n);
      const GoldenArray& expected = golden.array(name);
      const std::vector<float> samples = make_samples(signal, n);
      const MelFrames frames = make_mel(samples);
      ASSERT_EQ(frames.values.size(), size_t{frames.n} * kMelBins);
      const size_t step = n == kLongest ? golden.header.at("step").get<size_t>() : 1;
      ASSERT_EQ(expected.values.size(), (frames.values.size() + step - 1) / step) << name;
      for (size_t i = 0; i < expected.values.size(); ++i) {
        const auto frame = static_cast<uint32_t>(i * step / kMelBins);
        const double bound = tolerance(samples, frame, expected.values[i]);
        ASSERT_NEAR(frames.values[i * step], expected.values[i], bound)
            << name << " frame " << frame << " bin " << i * step % kMelBins;
        worst = std::max(worst, std::abs(frames.values[i * step] - expected.values[i]) / bound);
      }
    }
  }
  EXPECT_GT(worst, 0.001) << "the bound is no bound";
  RecordProperty("largest_share_of_the_bound", std::to_string(worst));
}

/// The bounds must see a window that starts a sample late, and power in the place of magnitude.
TEST(Mel, TheBoundsSeeASampleOff) {
  const Golden golden = load();
  const GoldenArray& expected = golden.array("noise.2600");
  const std::vector<float> samples = make_samples(kSignals[0], 2601);
  const MelFrames late = make_mel(std::span(samples).subspan(1));
  size_t n_off = 0;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    const auto frame = static_cast<uint32_t>(i / kMelBins);
    const double bound = tolerance(samples, frame, expected.values[i]);
    n_off += std::abs(late.values[i] - expected.values[i]) > 10 * bound ? 1 : 0;
  }
  EXPECT_GT(n_off, expected.values.size() / 2);
}

TEST(Mel, TokensAreCountedAsTheProcessorDoes) {
  const Golden golden = load();
  const auto lengths = golden.header.at("lengths").get<std::vector<uint64_t>>();
  const auto tokens = golden.header.at("tokens").get<std::vector<uint32_t>>();
  ASSERT_EQ(lengths.size(), tokens.size());
  ASSERT_GE(lengths.size(), 500u);
  for (size_t i = 0; i < lengths.size(); ++i) {
    EXPECT_EQ(count_mel_tokens(count_mel_frames(lengths[i])), tokens[i]) << lengths[i];
  }
  EXPECT_EQ(std::ranges::max(tokens), 750u);
}

TEST(Mel, SoundsWithoutAFrameAreEmpty) {
  EXPECT_EQ(make_mel({}).n, 0u);
  EXPECT_EQ(make_mel(std::vector<float>(kMinMelSamples - 1, 0.5f)).n, 0u);
  EXPECT_EQ(make_mel(std::vector<float>(kMinMelSamples, 0.5f)).n, 1u);
}

}  // namespace
}  // namespace kimberlite::media
