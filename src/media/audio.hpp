// Sounds as files or bytes in memory, decoded to what the audio projectors of Gemma 4 take: one
// channel, 16 kHz, nominally -1 to 1.
//
// Channels are averaged; other rates are resampled with libsamplerate's best sinc filter. The type
// is found by content. Thread rule: functions share nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::media {

inline constexpr uint32_t kSampleRate = 16'000;
/// What is resampled; libsamplerate takes a factor of 256 either way.
inline constexpr uint32_t kMinSourceRate = 1'000;
inline constexpr uint32_t kMaxSourceRate = 768'000;
/// A file that is longer is refused before it fills the memory: two hours are 460 MB.
inline constexpr uint32_t kMaxAudioSeconds = 2 * 60 * 60;

struct Audio {
  std::vector<float> samples;  // at kSampleRate
  uint32_t source_rate = 0;    // of the file
  uint32_t source_channels = 0;
};

enum class AudioType { wav, flac, ogg, mp3, aiff };

std::string_view audio_type_name(AudioType type);

/// False where this build lacks the library for it; decoding says so by name.
bool reads_audio_type(AudioType type);
/// False where only sounds at kSampleRate are read.
bool resamples_audio();

/// What the bytes start like. Errors: bad_file where they are no sound, unsupported where they are
/// one of a type that is not read here; `name` is what messages call them.
Result<AudioType> find_audio_type(std::span<const std::byte> bytes, std::string_view name);

/// Errors: bad_file where the sound is damaged, cut off, empty or too long; unsupported. Of an MP3
/// without a header that counts its frames nobody can tell that its end is missing.
Result<Audio> decode_audio(std::span<const std::byte> bytes, std::string_view name);

/// decode_audio of the mapped file at `path`. Errors: io as well.
Result<Audio> read_audio_file(const std::string& path);

}  // namespace kimberlite::media
