// What sound it is, whether all of it is there, and its way to one channel at 16 kHz.
#include "media/audio.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/mapped_file.hpp"
#include "media/audio_source.hpp"
#include "media/byte_reader.hpp"

namespace kimberlite::media {
namespace {

struct Signature {
  size_t offset;
  std::string_view text;
  std::string_view type;
};
// What people send that is not read here, so that the message can say what it is.
constexpr Signature kOtherFiles[] = {
    {4, "ftyp", "an MPEG-4 file (M4A or MP4)"},
    {0, "\x1a\x45\xdf\xa3", "a WebM or Matroska file"},
    {0, "\xff\xf1", "an AAC sound"},
    {0, "\xff\xf9", "an AAC sound"},
    {0, "#!AMR", "an AMR sound"},
    {0, "\x30\x26\xb2\x75", "a WMA or ASF file"},
    {8, "AVI ", "an AVI video"},
    {0, "MThd", "a MIDI file, which holds no sound"},
};

Error cut_off(std::string_view name, AudioType type, std::string_view what) {
  return Error{ErrorCode::bad_file,
               fmt::format("{}: {} cut off: {}", name, audio_type_name(type), what)};
}

/// libsndfile reads what is there and calls it all, so the chunk of samples is looked at before.
Status check_wav_end(std::span<const std::byte> bytes, std::string_view name) {
  // Programs that write into a pipe do not know the size and say one of the largest.
  constexpr uint32_t kUnknown = 0x7fff'0000;
  uint64_t n_wide = 0;  // RF64: samples of 4 GB and more are counted in a chunk of their own
  for (size_t at = 12; at < bytes.size() && bytes.size() - at >= 8;) {
    const size_t n_bytes = read_little<4>(bytes, at + 4);
    const size_t n_left = bytes.size() - at - 8;
    if (has_text(bytes, at, "data")) {
      const uint64_t n_promised = n_bytes < kUnknown ? n_bytes : n_wide;
      if (n_promised <= n_left) return {};
      return cut_off(name, AudioType::wav,
                     fmt::format("{} bytes of samples, the file has {}", n_promised, n_left));
    }
    if (n_bytes > n_left) break;
    if (has_text(bytes, at, "ds64")) {
      n_wide = uint64_t{read_little<4>(bytes, at + 20)} << 32 | read_little<4>(bytes, at + 16);
    }
    at += 8 + n_bytes + n_bytes % 2;
  }
  return cut_off(name, AudioType::wav, fmt::format("no samples in {} bytes", bytes.size()));
}

/// The first frame of most MP3 files is silent and counts the bytes of all.
Status check_mp3_end(std::span<const std::byte> bytes, std::string_view name) {
  size_t first = 0;
  if (has_text(bytes, 0, "ID3")) {  // its size is in four times seven bits
    first = 10;
    for (size_t i = 0; i < 4; ++i) first += size_t{read_little<1>(bytes, 6 + i)} << (7 * (3 - i));
  }
  for (const size_t offset : {13u, 21u, 36u}) {  // behind what its channels and version leave empty
    const size_t at = first + offset;
    if (!has_text(bytes, at, "Xing") && !has_text(bytes, at, "Info")) continue;
    constexpr uint32_t kHasFrames = 1, kHasBytes = 2;
    const uint32_t flags = read_big<4>(bytes, at + 4);
    if ((flags & kHasBytes) == 0) return {};
    const uint64_t n_bytes = read_big<4>(bytes, at + ((flags & kHasFrames) != 0 ? 12 : 8));
    if (n_bytes <= bytes.size() - first) return {};
    return cut_off(
        name, AudioType::mp3,
        fmt::format("{} bytes of frames, the file has {}", n_bytes, bytes.size() - first));
  }
  return {};
}

/// The same for a file that says how long it is.
Status check_aiff_end(std::span<const std::byte> bytes, std::string_view name) {
  const uint64_t n_bytes = uint64_t{8} + read_big<4>(bytes, 4);
  if (n_bytes <= bytes.size()) return {};
  return cut_off(name, AudioType::aiff,
                 fmt::format("says {} bytes, has {}", n_bytes, bytes.size()));
}

/// An Ogg file ends with a page that says so.
Status check_ogg_end(std::span<const std::byte> bytes, std::string_view name) {
  constexpr uint32_t kLastPage = 4;
  size_t at = 0;
  uint32_t flags = 0;
  while (has_text(bytes, at, "OggS")) {
    const size_t n_segments = read_little<1>(bytes, at + 26);
    size_t end = at + 27 + n_segments;
    for (size_t i = 0; i < n_segments; ++i) end += read_little<1>(bytes, at + 27 + i);
    if (end > bytes.size()) {
      return cut_off(name, AudioType::ogg,
                     fmt::format("a page ends at byte {}, the file has {}", end, bytes.size()));
    }
    flags = read_little<1>(bytes, at + 5);
    at = end;
  }
  if ((flags & kLastPage) != 0) return {};
  return cut_off(name, AudioType::ogg,
                 fmt::format("no last page within its {} bytes", bytes.size()));
}

Status check_end(AudioType type, std::span<const std::byte> bytes, std::string_view name) {
  switch (type) {
    case AudioType::wav:
      return check_wav_end(bytes, name);
    case AudioType::aiff:
      return check_aiff_end(bytes, name);
    case AudioType::ogg:
      return check_ogg_end(bytes, name);
    case AudioType::mp3:
      return check_mp3_end(bytes, name);
    default:
      return {};
  }
}

Status check_header(const AudioSource& source, std::string_view name) {
  if (source.rate() < kMinSourceRate || source.rate() > kMaxSourceRate) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: recorded at {} Hz; rates from {} to {} Hz are read", name,
                             source.rate(), kMinSourceRate, kMaxSourceRate)};
  }
  if (source.n_channels() == 0) {
    return Error{ErrorCode::bad_file, fmt::format("{}: a sound of 0 channels", name)};
  }
  return {};
}

Status check_length(uint64_t n_frames, const AudioSource& source, std::string_view name) {
  const uint64_t n_seconds = n_frames / source.rate();
  if (n_seconds <= kMaxAudioSeconds) return {};
  return Error{ErrorCode::bad_file,
               fmt::format("{}: more than {} minutes, at most {} are read", name,
                           std::min<uint64_t>(n_seconds / 60, 1'000'000), kMaxAudioSeconds / 60)};
}

/// All frames of `source` through `resampler`, which may be none. Returns how many there were.
Result<uint64_t> read_all(AudioSource& source, Resampler* resampler, std::string_view name,
                          std::vector<float>& out) {
  constexpr size_t kBlockFrames = 4096;
  const size_t n_channels = source.n_channels();
  std::vector<float> block(kBlockFrames * n_channels), mono(kBlockFrames);
  uint64_t n_frames = 0;
  while (const size_t n = source.read(block)) {
    for (size_t i = 0; i < n; ++i) {
      float sum = 0;
      for (size_t c = 0; c < n_channels; ++c) sum += block[i * n_channels + c];
      mono[i] = sum / static_cast<float>(n_channels);
      if (!std::isfinite(mono[i])) {
        return Error{ErrorCode::bad_file,
                     fmt::format("{}: sample {} is no number", name, n_frames + i)};
      }
    }
    n_frames += n;
    KL_TRY(check_length(n_frames, source, name));
    const std::span<const float> samples = std::span(mono).first(n);
    if (resampler == nullptr) {
      out.insert(out.end(), samples.begin(), samples.end());
    } else {
      KL_TRY(resampler->add(samples, false, out));
    }
  }
  if (resampler != nullptr) KL_TRY(resampler->add({}, true, out));
  return n_frames;
}

}  // namespace

std::string_view audio_type_name(AudioType type) {
  constexpr std::string_view kNames[] = {"WAV", "FLAC", "OGG", "MP3", "AIFF"};
  return kNames[static_cast<size_t>(type)];
}

bool reads_audio_type(AudioType type) { return has_audio_decoder(type); }

Result<AudioType> find_audio_type(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes.empty()) return Error{ErrorCode::bad_file, fmt::format("{}: is empty", name)};
  const bool is_riff = has_text(bytes, 0, "RIFF") || has_text(bytes, 0, "RF64");
  if (is_riff && has_text(bytes, 8, "WAVE")) return AudioType::wav;
  if (has_text(bytes, 0, "fLaC")) return AudioType::flac;
  if (has_text(bytes, 0, "OggS")) return AudioType::ogg;
  if (has_text(bytes, 0, "FORM") && has_text(bytes, 8, "AIF")) return AudioType::aiff;
  for (const Signature& other : kOtherFiles) {
    if (has_text(bytes, other.offset, other.text)) {
      return Error{
          ErrorCode::unsupported,
          fmt::format("{}: is {}; sounds may be WAV, FLAC, OGG, MP3 or AIFF", name, other.type)};
    }
  }
  // An MPEG frame starts with eleven ones and a layer that is not 0.
  const uint32_t start = read_big<2>(bytes, 0);
  if (has_text(bytes, 0, "ID3") || ((start & 0xffe0) == 0xffe0 && (start & 6) != 0)) {
    return AudioType::mp3;
  }
  return Error{ErrorCode::bad_file,
               fmt::format("{}: is no sound: starts with \"{}\"", name, shown_start(bytes))};
}

Result<Audio> decode_audio(std::span<const std::byte> bytes, std::string_view name) {
  KL_ASSIGN(const AudioType type, find_audio_type(bytes, name));
  if (!reads_audio_type(type)) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: is a {} sound; this build reads no {}", name,
                             audio_type_name(type), audio_type_name(type))};
  }
  KL_TRY(check_end(type, bytes, name));
  KL_ASSIGN(const auto source, AudioSource::open(bytes, name));
  KL_TRY(check_header(*source, name));
  KL_TRY(check_length(source->n_frames(), *source, name));
  std::unique_ptr<Resampler> resampler;
  if (source->rate() != kSampleRate) {
    KL_ASSIGN(resampler, Resampler::make(source->rate(), name));
  }
  Audio audio;
  audio.source_rate = source->rate();
  audio.source_channels = source->n_channels();
  KL_ASSIGN(const uint64_t n_frames, read_all(*source, resampler.get(), name, audio.samples));
  if (n_frames == 0) return Error{ErrorCode::bad_file, fmt::format("{}: holds no sound", name)};
  if (type == AudioType::flac && n_frames < source->n_frames()) {
    return cut_off(name, type,
                   fmt::format("{} of {} samples can be read", n_frames, source->n_frames()));
  }
  // Resampling may end a sample early or late.
  const double exact = static_cast<double>(n_frames) * kSampleRate / source->rate();
  audio.samples.resize(static_cast<size_t>(std::max(std::llround(exact), 1LL)));
  return audio;
}

Result<Audio> read_audio_file(const std::string& path) {
  KL_ASSIGN(const MappedFile file, MappedFile::open(path));
  return decode_audio(file.bytes(), path);
}

}  // namespace kimberlite::media
