// libFuzzer entry for the decoder of sounds.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "media/audio.hpp"
#include "media/audio_source.hpp"
#include "tests/media/library_leaks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kimberlite::media;
  const auto bytes = std::as_bytes(std::span(data, size));
  if (!find_audio_type(bytes, "fuzz").ok()) return 0;
  // A few bytes may stand for hours, which are refused late.
  const auto source = AudioSource::open(bytes, "fuzz");
  constexpr uint64_t kMaxFrames = 100'000;
  if (source.ok() && ((*source)->n_frames() == 0 || (*source)->n_frames() > kMaxFrames)) return 0;
  const auto audio = decode_audio(bytes, "fuzz");
  if (!audio.ok()) {
    KL_CHECK(!audio.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  KL_CHECK(!audio->samples.empty(), "a sound without an error is not empty");
  for (const float sample : audio->samples) KL_CHECK(std::isfinite(sample), "numbers only");
  return 0;
}
