// Sounds as the audio projector of Gemma 4 12B takes them, and where long ones are cut.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/audio.hpp"

namespace kimberlite::media {

/// Samples of a token: 40 ms.
inline constexpr uint32_t kFrameSamples = 640;
/// What the models were made for, at once: 750 tokens.
inline constexpr uint32_t kMaxPieceSeconds = 30;

struct Frames {
  uint32_t n = 0;
  std::vector<float> values;  // [n, kFrameSamples], the last filled up with zeros
};

Frames make_frames(std::span<const float> samples);

/// `samples` in pieces of at most kMaxPieceSeconds, nothing lost and nothing twice. A sound that is
/// longer is cut in the last 10 s before the limit where it is quietest: of all stretches there
/// that are silent (the power of 100 ms within 3 dB of the lowest there is, or below -80 dB of full
/// scale) the longest is cut in its middle, the latest of equals.
std::vector<std::span<const float>> split_audio(std::span<const float> samples);

}  // namespace kimberlite::media
