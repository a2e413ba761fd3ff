// Sounds as the conformer of Gemma 4 E2B and E4B takes them: log-mel spectrograms, as the official
// feature extractor makes them. Thread rule: functions share nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kimberlite::media {

inline constexpr uint32_t kMelBins = 128;
/// Samples of a frame's window, and from one frame to the next, at kSampleRate.
inline constexpr uint32_t kMelWindow = 320;
inline constexpr uint32_t kMelHop = 160;
/// What makes a first frame.
inline constexpr uint32_t kMinMelSamples = kMelHop + 1;

struct MelFrames {
  uint32_t n = 0;             // count_mel_frames
  std::vector<float> values;  // [n, kMelBins]: natural logarithms
};

/// Frames whose windows lie within the samples, which half a window of silence precedes. The
/// official window is a sample longer than what is used of it; so is this rule.
[[nodiscard]] uint32_t count_mel_frames(uint64_t n_samples);

/// What the conformer makes of so many frames: each of its two convolutions halves them.
[[nodiscard]] constexpr uint32_t count_mel_tokens(uint32_t n_frames) { return (n_frames + 3) / 4; }

/// log(mel + 0.001): magnitudes of a spectrum of 512 over Hann windows, in triangles of the HTK
/// scale up to 8 kHz. Computed in double precision; windowed samples are rounded to float32 as the
/// official ones are. At most kMaxPieceSeconds of samples.
[[nodiscard]] MelFrames make_mel(std::span<const float> samples);

}  // namespace kimberlite::media
