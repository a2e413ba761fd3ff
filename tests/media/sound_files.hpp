// Sounds for the tests: WAV files byte by byte, other formats through libsndfile where there is
// one.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "tests/media/media_files.hpp"

#if KIMBERLITE_SNDFILE
#include <sndfile.h>
#endif

namespace kimberlite::media {

/// A WAV file of `data` as it is; `format` 1 is integers, 3 floats.
inline Bytes wav_file(uint32_t rate, uint32_t n_channels, uint32_t n_bits, const std::string& data,
                      uint32_t format = 1) {
  std::string text = "RIFF";
  const auto add = [&text](uint32_t value, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  };
  const uint32_t n_frame_bytes = n_channels * n_bits / 8;
  add(static_cast<uint32_t>(36 + data.size()), 4);
  text += "WAVEfmt ";
  add(16, 4);
  add(format, 2);
  add(n_channels, 2);
  add(rate, 4);
  add(rate * n_frame_bytes, 4);
  add(n_frame_bytes, 2);
  add(n_bits, 2);
  text += "data";
  add(static_cast<uint32_t>(data.size()), 4);
  return to_bytes(text + data);
}

/// Values of T as a file holds them on a little-endian machine.
template <typename T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::vector<float> sine(double hertz, uint32_t rate, size_t n, double peak = 0.5) {
  std::vector<float> samples(n);
  for (size_t i = 0; i < n; ++i) {
    const double phase = 2 * std::numbers::pi * hertz * static_cast<double>(i) / rate;
    samples[i] = static_cast<float>(peak * std::sin(phase));
  }
  return samples;
}

inline Bytes float_wav(uint32_t rate, const std::vector<float>& samples, uint32_t n_channels = 1) {
  return wav_file(rate, n_channels, 32, raw(samples), 3);
}

#if KIMBERLITE_SNDFILE
/// What libsndfile writes; empty where it has no such encoder. `format` as in sndfile.h.
inline Bytes encoded(int format, uint32_t rate, uint32_t n_channels,
                     const std::vector<float>& samples) {
  struct Memory {
    Bytes bytes;
    sf_count_t at = 0;
  } memory;
  SF_VIRTUAL_IO calls = {};
  calls.get_filelen = [](void* self) {
    return static_cast<sf_count_t>(static_cast<Memory*>(self)->bytes.size());
  };
  calls.tell = [](void* self) { return static_cast<Memory*>(self)->at; };
  calls.seek = [](sf_count_t offset, int whence, void* self) {
    auto* file = static_cast<Memory*>(self);
    const auto size = static_cast<sf_count_t>(file->bytes.size());
    return file->at = offset + (whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->at : size);
  };
  calls.read = [](void*, sf_count_t, void*) { return sf_count_t{0}; };
  calls.write = [](const void* from, sf_count_t n, void* self) {
    auto* file = static_cast<Memory*>(self);
    const auto end = static_cast<size_t>(file->at + n);
    if (file->bytes.size() < end) file->bytes.resize(end);
    std::memcpy(file->bytes.data() + file->at, from, static_cast<size_t>(n));
    file->at += n;
    return n;
  };
  SF_INFO info = {};
  info.samplerate = static_cast<int>(rate);
  info.channels = static_cast<int>(n_channels);
  info.format = format;
  SNDFILE* file = sf_open_virtual(&calls, SFM_WRITE, &info, &memory);
  if (file == nullptr) return {};
  sf_writef_float(file, samples.data(), static_cast<sf_count_t>(samples.size() / n_channels));
  sf_close(file);
  return memory.bytes;
}
#endif

}  // namespace kimberlite::media
