// The two libraries behind decode_audio(): what reads sound files, what changes their rate. Inside
// the layer only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "media/audio.hpp"

namespace kimberlite::media {

/// True where libsndfile was built in and is new enough for the type.
bool has_audio_decoder(AudioType type);

/// libsndfile over bytes in memory. The bytes stay borrowed from the caller.
class AudioSource {
 public:
  static Result<std::unique_ptr<AudioSource>> open(std::span<const std::byte> bytes,
                                                   std::string_view name);
  virtual ~AudioSource() = default;

  [[nodiscard]] virtual uint32_t rate() const = 0;
  [[nodiscard]] virtual uint32_t n_channels() const = 0;
  /// As the header says, where it says.
  [[nodiscard]] virtual uint64_t n_frames() const = 0;
  /// The next samples, all channels in turn; returns how many frames there were, at the end 0.
  virtual size_t read(std::span<float> out) = 0;
};

/// libsamplerate from any rate to kSampleRate.
class Resampler {
 public:
  /// Errors: unsupported where there is no libsamplerate.
  static Result<std::unique_ptr<Resampler>> make(uint32_t source_rate, std::string_view name);
  virtual ~Resampler() = default;

  /// Appends to `out` what `in` makes known; all of the rest where it is the `last`. Errors:
  /// out_of_memory.
  virtual Status add(std::span<const float> in, bool last, std::vector<float>& out) = 0;
};

}  // namespace kimberlite::media
