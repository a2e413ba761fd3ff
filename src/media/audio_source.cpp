// Sound files through libsndfile.
#include "media/audio_source.hpp"

#include <fmt/format.h>

#if KIMBERLITE_SNDFILE
#include <sndfile.h>
#endif

#include <algorithm>
#include <cstring>
#include <utility>

namespace kimberlite::media {

#if KIMBERLITE_SNDFILE

namespace {

/// A file in memory as libsndfile calls it.
struct MemoryFile {
  static sf_count_t length(void* self) {
    return static_cast<sf_count_t>(static_cast<MemoryFile*>(self)->bytes.size());
  }
  static sf_count_t tell(void* self) { return static_cast<MemoryFile*>(self)->at; }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    auto* file = static_cast<MemoryFile*>(self);
    const sf_count_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->at : length(self);
    // Damaged headers lead anywhere.
    if (offset < -from || offset > length(self) - from) return -1;
    return file->at = from + offset;
  }
  static sf_count_t read(void* out, sf_count_t n_bytes, void* self) {
    auto* file = static_cast<MemoryFile*>(self);
    const sf_count_t n = std::clamp<sf_count_t>(n_bytes, 0, length(self) - file->at);
    std::memcpy(out, file->bytes.data() + file->at, static_cast<size_t>(n));
    file->at += n;
    return n;
  }

  std::span<const std::byte> bytes;
  sf_count_t at = 0;
};

class SndfileSource final : public AudioSource {
 public:
  explicit SndfileSource(std::span<const std::byte> bytes) {
    memory_.bytes = bytes;
    SF_VIRTUAL_IO calls = {MemoryFile::length, MemoryFile::seek, MemoryFile::read, nullptr,
                           MemoryFile::tell};
    file_ = sf_open_virtual(&calls, SFM_READ, &info_, &memory_);
  }
  SndfileSource(const SndfileSource&) = delete;
  SndfileSource& operator=(const SndfileSource&) = delete;
  ~SndfileSource() override {
    if (file_ != nullptr) sf_close(file_);
  }

  [[nodiscard]] bool is_open() const { return file_ != nullptr; }
  [[nodiscard]] uint32_t rate() const override {
    return static_cast<uint32_t>(std::max(info_.samplerate, 0));
  }
  [[nodiscard]] uint32_t n_channels() const override {
    return static_cast<uint32_t>(std::max(info_.channels, 0));
  }
  [[nodiscard]] uint64_t n_frames() const override {
    return info_.frames == SF_COUNT_MAX
               ? 0
               : static_cast<uint64_t>(std::max<sf_count_t>(info_.frames, 0));
  }
  size_t read(std::span<float> out) override {
    const auto n = static_cast<sf_count_t>(out.size() / n_channels());
    return static_cast<size_t>(std::max<sf_count_t>(sf_readf_float(file_, out.data(), n), 0));
  }

 private:
  MemoryFile memory_;
  SF_INFO info_ = {};
  SNDFILE* file_ = nullptr;
};

}  // namespace

bool has_audio_decoder(AudioType type) {
  // The library that runs may be older than the one whose header was compiled.
  int n_types = 0;
  sf_command(nullptr, SFC_GET_FORMAT_MAJOR_COUNT, &n_types, sizeof(n_types));
  constexpr int kMpeg = 0x230000;  // SF_FORMAT_MPEG, since 1.1
  for (int i = 0; i < n_types && type == AudioType::mp3; ++i) {
    SF_FORMAT_INFO format = {};
    format.format = i;
    sf_command(nullptr, SFC_GET_FORMAT_MAJOR, &format, sizeof(format));
    if ((format.format & SF_FORMAT_TYPEMASK) == kMpeg) return true;
  }
  return type != AudioType::mp3;
}

Result<std::unique_ptr<AudioSource>> AudioSource::open(std::span<const std::byte> bytes,
                                                       std::string_view name) {
  auto source = std::make_unique<SndfileSource>(bytes);
  if (!source->is_open()) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: damaged sound file: {}", name, sf_strerror(nullptr))};
  }
  return std::unique_ptr<AudioSource>(std::move(source));
}

#else

bool has_audio_decoder(AudioType) { return false; }

Result<std::unique_ptr<AudioSource>> AudioSource::open(std::span<const std::byte>,
                                                       std::string_view name) {
  return Error{ErrorCode::unsupported, fmt::format("{}: this build reads no sounds", name)};
}

#endif

}  // namespace kimberlite::media
