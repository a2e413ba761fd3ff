#include "media/audio.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "tests/media/library_leaks.hpp"
#include "tests/media/sound_files.hpp"

namespace kimberlite::media {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string decode_error(std::span<const std::byte> bytes) {
  const Bytes exact(bytes.begin(), bytes.end());  // so that a sanitizer sees reads behind the end
  const auto audio = decode_audio(exact, "test");
  if (audio.ok()) return "";
  EXPECT_THAT(audio.error().message, HasSubstr("test: "));
  return audio.error().message;
}

std::vector<float> samples_of(std::span<const std::byte> bytes) {
  const auto audio = decode_audio(bytes, "test");
  EXPECT_TRUE(audio.ok()) << audio.error().message;
  return audio.ok() ? audio->samples : std::vector<float>{};
}

TEST(Sound, WhatIsNoSound) {
  EXPECT_EQ(decode_error(to_bytes("Hello, world")),
            "test: is no sound: starts with \"Hello, world\"");
  EXPECT_EQ(decode_error({}), "test: is empty");
  EXPECT_THAT(decode_error(to_bytes("abcdftypM4A ")), HasSubstr("MPEG-4 file"));
  EXPECT_THAT(decode_error(to_bytes("\x1a\x45\xdf\xa3 webm")), HasSubstr("WebM"));
}

TEST(Sound, WithoutTheLibraryIsNamed) {
  const std::string expected = reads_audio_type(AudioType::wav) ? "" : "this build reads no WAV";
  EXPECT_THAT(decode_error(float_wav(16000, {0, 0})), HasSubstr(expected));
}

class SoundFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!reads_audio_type(AudioType::wav)) GTEST_SKIP() << "no libsndfile in this build";
  }
};

TEST_F(SoundFiles, WavOfEveryWidth) {
  EXPECT_THAT(samples_of(wav_file(16000, 1, 8, std::string("\x80\0\xc0", 3))),
              ElementsAre(0, -1, 0.5f));
  EXPECT_THAT(samples_of(wav_file(16000, 1, 16, raw<int16_t>({0, -32768, 16384, 1}))),
              ElementsAre(0, -1, 0.5f, 1.0f / 32768));
  EXPECT_THAT(samples_of(wav_file(16000, 1, 24, std::string("\0\0\xc0\0\0\x20", 6))),
              ElementsAre(-0.5f, 0.25f));
  EXPECT_THAT(samples_of(wav_file(16000, 1, 32, raw<int32_t>({1 << 30, -(1 << 29)}))),
              ElementsAre(0.5f, -0.25f));
  EXPECT_THAT(samples_of(float_wav(16000, {0.1f, -3.5f})), ElementsAre(0.1f, -3.5f));
}

TEST_F(SoundFiles, ChannelsAreAveraged) {
  const auto audio = decode_audio(float_wav(16000, {1, 0.5f, 0, -1, 0.25f, 0.25f}, 2), "test");
  ASSERT_TRUE(audio.ok()) << audio.error().message;
  EXPECT_THAT(audio->samples, ElementsAre(0.75f, -0.5f, 0.25f));
  EXPECT_EQ(audio->source_channels, 2u);
  EXPECT_EQ(audio->source_rate, 16000u);
  EXPECT_THAT(samples_of(float_wav(16000, {3, 0, 0, 0, 0, 0}, 6)), ElementsAre(0.5f));
}

TEST_F(SoundFiles, OtherRatesAreResampled) {
  if (!resamples_audio()) {
    EXPECT_THAT(decode_error(float_wav(8000, {0, 0})),
                AllOf(HasSubstr("8000 Hz"), HasSubstr("16000 Hz")));
    GTEST_SKIP() << "no libsamplerate in this build";
  }
  // A tone that swells and fades, so that the ends of the file are no jumps.
  const auto tone = [](uint32_t rate, size_t n, double n_exact) {
    std::vector<float> samples = sine(300, rate, n);
    for (size_t i = 0; i < n; ++i) {
      const double swell = std::sin(std::numbers::pi * static_cast<double>(i) / n_exact);
      samples[i] *= static_cast<float>(swell * swell);
    }
    return samples;
  };
  for (const uint32_t rate : {1000u, 8000u, 11025u, 22050u, 44100u, 48000u, 96000u, 768000u}) {
    const size_t n = rate / 2 + 7;  // half a second and a bit, so that no count is whole
    const double n_exact = static_cast<double>(n) * 16000 / rate;
    const auto samples = samples_of(float_wav(rate, tone(rate, n, static_cast<double>(n))));
    ASSERT_EQ(samples.size(), static_cast<size_t>(std::llround(n_exact))) << rate;
    const std::vector<float> expected = tone(16000, samples.size(), n_exact);
    double largest = 0;
    for (size_t i = 0; i < samples.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(samples[i] - expected[i])));
    }
    EXPECT_LT(largest, 1e-4) << rate;
  }
}

TEST_F(SoundFiles, ResampledChunksJoinWithoutASeam) {
  if (!resamples_audio()) GTEST_SKIP() << "no libsamplerate in this build";
  // 19 s are a batch of chunks and some; 7919 is prime, so that its samples meet those of 16 kHz
  // rarely.
  for (const uint32_t rate : {7919u, 22050u}) {
    const std::vector<float> samples = samples_of(float_wav(rate, sine(300, rate, rate * 19)));
    ASSERT_EQ(samples.size(), 16000u * 19);
    const std::vector<float> expected = sine(300, 16000, samples.size());
    double largest = 0;
    for (size_t i = 16000; i < 16000u * 18; ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(samples[i] - expected[i])));
    }
    EXPECT_LT(largest, 1e-5) << rate;
  }
}

TEST_F(SoundFiles, WhatIsAboveEightKilohertzIsRemoved) {
  if (!resamples_audio()) GTEST_SKIP() << "no libsamplerate in this build";
  const std::vector<float> samples = samples_of(float_wav(48000, sine(9000, 48000, 48000)));
  for (size_t i = 200; i + 200 < samples.size(); ++i) ASSERT_LT(std::abs(samples[i]), 1e-4f) << i;
}

TEST_F(SoundFiles, AbsurdHeadersAreRefused) {
  EXPECT_THAT(decode_error(float_wav(999, {0, 0})),
              AllOf(HasSubstr("999 Hz"), HasSubstr("from 1000 to 768000 Hz")));
  EXPECT_THAT(decode_error(float_wav(800000, {0, 0})), HasSubstr("800000 Hz"));
  EXPECT_NE(decode_error(wav_file(16000, 0, 16, "abcd")), "");
  EXPECT_NE(decode_error(wav_file(16000, 5000, 16, std::string(20000, 'a'))), "");
  EXPECT_NE(decode_error(wav_file(16000, 1, 77, "abcd")), "");
  EXPECT_NE(decode_error(float_wav(16000, {})), "");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(decode_error(float_wav(16000, {0, 1, nan})), HasSubstr("sample 2 is no number"));
  // Two hours and two minutes of one byte per millisecond.
  EXPECT_THAT(decode_error(wav_file(1000, 1, 8, std::string(122 * 60 * 1000, '\x80'))),
              HasSubstr("more than 122 minutes, at most 120"));
}

TEST_F(SoundFiles, AWavWithoutASizeIsRead) {
  Bytes file = float_wav(16000, {0.5f, 0.25f});
  for (size_t i = 40; i < 44; ++i) file[i] = std::byte{0xff};
  EXPECT_THAT(samples_of(file), ElementsAre(0.5f, 0.25f));
}

#if KIMBERLITE_SNDFILE

constexpr int kMp3 = 0x230000 | 0x0082;

/// A second of a chord in every format.
std::map<std::string, Bytes> chord_files() {
  std::vector<float> chord = sine(440, 16000, 16000, 0.3);
  const std::vector<float> third = sine(550, 16000, 16000, 0.2);
  for (size_t i = 0; i < chord.size(); ++i) chord[i] += third[i];
  std::map<std::string, Bytes> files = {
      {"wav", encoded(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, chord)},
      {"wav ima", encoded(SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM, 16000, 1, chord)},
      {"wav ulaw", encoded(SF_FORMAT_WAV | SF_FORMAT_ULAW, 16000, 1, chord)},
      {"rf64", encoded(SF_FORMAT_RF64 | SF_FORMAT_PCM_24, 16000, 1, chord)},
      {"aiff", encoded(SF_FORMAT_AIFF | SF_FORMAT_PCM_16, 16000, 1, chord)},
      {"flac", encoded(SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 16000, 1, chord)},
      {"vorbis", encoded(SF_FORMAT_OGG | SF_FORMAT_VORBIS, 16000, 1, chord)},
      {"opus", encoded(SF_FORMAT_OGG | SF_FORMAT_OPUS, 16000, 1, chord)}};
  if (reads_audio_type(AudioType::mp3)) files["mp3"] = encoded(kMp3, 16000, 1, chord);
  std::erase_if(files, [](const auto& file) { return file.second.empty(); });
  return files;
}

TEST_F(SoundFiles, EveryFormatIsRead) {
  std::vector<float> chord = sine(440, 16000, 16000, 0.3);
  const std::vector<float> third = sine(550, 16000, 16000, 0.2);
  for (size_t i = 0; i < chord.size(); ++i) chord[i] += third[i];
  const auto files = chord_files();
  EXPECT_GE(files.size(), 7u);
  for (const auto& [name, file] : files) {
    const std::vector<float> samples = samples_of(file);
    EXPECT_NEAR(static_cast<double>(samples.size()), 16000, name == "mp3" ? 2500 : 512) << name;
    if (name == "mp3" || samples.size() < 16000) continue;  // starts late
    double error = 0;
    for (size_t i = 1000; i < 15000; ++i) {
      error += std::pow(static_cast<double>(samples[i] - chord[i]), 2) / 14000;
    }
    const bool is_exact = name == "wav" || name == "rf64" || name == "aiff" || name == "flac";
    EXPECT_LT(std::sqrt(error), is_exact ? 1.0 / 32768 : 0.02) << name;
  }
}

TEST_F(SoundFiles, CutOffFilesAreErrors) {
  for (const auto& [name, file] : chord_files()) {
    for (size_t tenth = 0; tenth < 10; ++tenth) {
      const size_t n = file.size() * tenth / 10;
      EXPECT_NE(decode_error(std::span(file).first(n)), "") << name << ", " << n << " bytes";
    }
  }
  const auto files = chord_files();
  const auto half = [&](const std::string& name) {
    const Bytes& file = files.at(name);
    return decode_error(std::span(file).first(file.size() / 2));
  };
  EXPECT_THAT(half("wav"), HasSubstr("WAV cut off: 32000 bytes of samples, the file has 15978"));
  EXPECT_THAT(half("flac"), AllOf(HasSubstr("FLAC cut off"), HasSubstr("of 16000 samples")));
  if (files.contains("vorbis")) {
    EXPECT_THAT(half("vorbis"), HasSubstr("OGG cut off"));
  }
}

TEST_F(SoundFiles, DamagedFilesNeverCrash) {
  std::mt19937 random(48);
  size_t n_refused = 0;
  for (const auto& [name, whole] : chord_files()) {
    for (int round = 0; round < 40; ++round) {
      Bytes file = whole;
      for (size_t flips = 1 + random() % 8; flips > 0; --flips) {
        const size_t end = random() % 2 == 0 ? file.size() : std::min<size_t>(file.size(), 100);
        file[random() % end] ^= static_cast<std::byte>(1u << random() % 8);
      }
      n_refused += decode_error(file).empty() ? 0 : 1;
    }
  }
  EXPECT_GE(n_refused, 20u);
}

#endif

}  // namespace
}  // namespace kimberlite::media
