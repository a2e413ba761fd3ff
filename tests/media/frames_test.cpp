#include "media/frames.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace kimberlite::media {
namespace {

TEST(Frames, AreFilledUpWithZeros) {
  EXPECT_EQ(make_frames({}).n, 0u);
  for (const size_t n : {size_t{1}, size_t{639}, size_t{640}, size_t{641}, size_t{16000}}) {
    std::vector<float> samples(n);
    for (size_t i = 0; i < n; ++i) samples[i] = static_cast<float>(i + 1);
    const Frames frames = make_frames(samples);
    EXPECT_EQ(frames.n, (n + 639) / 640);
    ASSERT_EQ(frames.values.size(), size_t{frames.n} * 640);
    for (size_t i = 0; i < frames.values.size(); ++i) {
      ASSERT_EQ(frames.values[i], i < n ? static_cast<float>(i + 1) : 0.0f);
    }
  }
}

/// Noise with gaps of the given seconds, from and to, where it is `quiet` as loud.
std::vector<float> speech(double n_seconds, const std::vector<std::pair<double, double>>& gaps,
                          float quiet) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> noise(-0.5f, 0.5f);
  std::vector<float> samples(static_cast<size_t>(n_seconds * kSampleRate));
  for (size_t i = 0; i < samples.size(); ++i) {
    const double at = static_cast<double>(i) / kSampleRate;
    const bool in_gap = std::ranges::any_of(
        gaps, [at](const auto& gap) { return at >= gap.first && at < gap.second; });
    samples[i] = noise(random) * (in_gap ? quiet : 1.0f);
  }
  return samples;
}

/// Seconds at which the pieces end; checks that nothing is lost and no piece too long.
std::vector<double> ends(const std::vector<float>& samples) {
  std::vector<double> seconds;
  const float* next = samples.data();
  for (const std::span<const float> piece : split_audio(samples)) {
    EXPECT_EQ(piece.data(), next);
    EXPECT_LE(piece.size(), size_t{30} * kSampleRate);
    next = piece.data() + piece.size();
    seconds.push_back(static_cast<double>(next - samples.data()) / kSampleRate);
  }
  EXPECT_EQ(next, samples.data() + samples.size());
  return seconds;
}

TEST(SplitAudio, ShortSoundsStayWhole) {
  EXPECT_TRUE(split_audio({}).empty());
  EXPECT_EQ(ends(speech(1, {}, 0)).size(), 1u);
  EXPECT_EQ(ends(std::vector<float>(size_t{30} * kSampleRate, 0.1f)).size(), 1u);
}

TEST(SplitAudio, CutsInTheMiddleOfTheLongestGap) {
  for (const float quiet : {0.0f, 1e-5f, 0.02f}) {
    SCOPED_TRACE(quiet);
    // Of the first piece the gap at 12 s is too early, that at 22 s shorter than that at 26 s; the
    // second piece starts at 26.4 s and may end from 46.4 to 56.4 s.
    const auto cuts = ends(
        speech(75, {{12, 14}, {22, 22.4}, {26, 26.8}, {38, 41}, {48, 48.6}, {55.8, 56.0}}, quiet));
    ASSERT_EQ(cuts.size(), 3u);
    EXPECT_NEAR(cuts[0], 26.4, 0.06);
    EXPECT_NEAR(cuts[1], 48.3, 0.06);
    EXPECT_EQ(cuts[2], 75);
  }
}

TEST(SplitAudio, SilenceAndNoiseWithoutGapsAreCutToo) {
  EXPECT_GE(ends(std::vector<float>(size_t{100} * kSampleRate, 0.0f)).size(), 4u);
  EXPECT_GE(ends(speech(100, {}, 0)).size(), 4u);
  EXPECT_EQ(ends(std::vector<float>(size_t{30} * kSampleRate + 1, 0.0f)).size(), 2u);
}

}  // namespace
}  // namespace kimberlite::media
