#include "media/video.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/child_process.hpp"
#include "base/mapped_file.hpp"
#include "media/byte_reader.hpp"
#include "media/image_rows.hpp"

namespace kimberlite::media {
namespace {

/// Containers. Not among them: playlists and lists of files, which open others.
constexpr const char* kContainers =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,ogg,asf,gif,yuv4mpegpipe";

/// A program of the ffmpeg family, about to read `path`.
Result<ChildProcess> start(const std::string& name, const std::string& path,
                           std::vector<std::string> before, const std::vector<std::string>& after) {
  const auto program = find_program(name);
  if (!program) {
    return Error{
        ErrorCode::unsupported,
        fmt::format("{}: videos are read by {}, which is not in PATH; install ffmpeg", path, name)};
  }
  before.insert(before.end(), {"-v", "error", "-protocol_whitelist", "file", "-format_whitelist",
                               kContainers, "-i", "file:" + path});
  before.insert(before.end(), after.begin(), after.end());
  return ChildProcess::start(*program, before);
}

/// What went wrong, in the program's own words; a line of them.
Error failure(const std::string& path, const std::string& name, const ChildProcess& child,
              const std::string& otherwise) {
  std::string line = child.errors().substr(0, child.errors().find('\n'));
  if (line.empty()) line = otherwise;
  return {ErrorCode::bad_file, fmt::format("{}: {}: {}", path, name, line)};
}

Result<std::string> read_text(ChildProcess& child) {
  constexpr size_t kMost = 1 << 16;  // of a few lines
  std::string text;
  char part[1024];
  while (text.size() < kMost) {
    KL_ASSIGN(const size_t n, child.read(std::as_writable_bytes(std::span(part))));
    if (n == 0) break;
    text.append(part, n);
  }
  return text;
}

template <typename T>
T number_or(std::string_view text, T otherwise) {
  T value{};
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end == text.data() + text.size() ? value : otherwise;
}

/// The value of a line "key=value".
std::string_view value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with(key) && line.substr(key.size()).starts_with('=')) {
      return line.substr(key.size() + 1);
    }
  }
  return {};
}

/// "30000/1001"
double rate_of(std::string_view text) {
  const size_t slash = std::min(text.find('/'), text.size());
  const auto above = number_or<uint64_t>(text.substr(0, slash), 0);
  const auto below =
      slash < text.size() ? number_or<uint64_t>(text.substr(slash + 1), 0) : uint64_t{1};
  if (above == 0 || below == 0) return kDefaultFrameRate;
  return static_cast<double>(above) / static_cast<double>(below);
}

Status probe(const std::string& path, Video& video) {
  constexpr const char* kProgram = "ffprobe";
  KL_ASSIGN(ChildProcess child,
            start(kProgram, path, {},
                  {"-select_streams", "v:0", "-count_packets", "-show_entries",
                   "stream=nb_read_packets,avg_frame_rate", "-of", "default=noprint_wrappers=1"}));
  KL_ASSIGN(const std::string text, read_text(child));
  KL_ASSIGN(const int status, child.wait());
  video.n_source_frames = number_or<uint64_t>(value_of(text, "nb_read_packets"), 0);
  video.frame_rate = rate_of(value_of(text, "avg_frame_rate"));
  if (status == 0 && video.n_source_frames > 0) return {};
  return failure(path, kProgram, child, "there is no video in the file");
}

/// Pictures as they come: "P6 width height 255", then the pixels.
class PpmReader {
 public:
  PpmReader(ChildProcess& child, const std::string& path) : child_(child), path_(path) {}

  /// False at the end.
  Result<bool> read(Image& image) {
    KL_ASSIGN(const bool more, fill(1));
    if (!more) return false;
    KL_ASSIGN(const std::string magic, word());
    KL_ASSIGN(const std::string width, word());
    KL_ASSIGN(const std::string height, word());
    KL_ASSIGN(const std::string most, word());
    image.width = number_or<uint32_t>(width, 0);
    image.height = number_or<uint32_t>(height, 0);
    if (magic != "P6" || most != "255") return bad("a frame that is no picture of 8 bits");
    KL_TRY(check_size({image.width, image.height, {}}, path_));
    const size_t n_bytes = size_t{3} * image.width * image.height;
    KL_ASSIGN(const bool whole, fill(n_bytes));
    if (!whole) return bad("the last frame is cut off");
    const auto* pixels = reinterpret_cast<const uint8_t*>(buffer_.data() + at_);
    image.pixels.assign(pixels, pixels + n_bytes);
    at_ += n_bytes;
    return true;
  }

 private:
  Error bad(std::string_view what) const {
    return {ErrorCode::bad_file, fmt::format("{}: ffmpeg: {}", path_, what)};
  }

  /// Makes `n` bytes ready at at_; false where there are no more so many.
  Result<bool> fill(size_t n) {
    constexpr size_t kStep = 1 << 16;
    if (buffer_.size() - at_ >= n) return true;
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(at_));
    at_ = 0;
    while (buffer_.size() < n) {
      const size_t before = buffer_.size();
      buffer_.resize(std::max(n, before + kStep));
      KL_ASSIGN(const size_t got, child_.read(std::span(buffer_).subspan(before)));
      buffer_.resize(before + got);
      if (got == 0) return false;
    }
    return true;
  }

  /// Up to the next white space, which goes too.
  Result<std::string> word() {
    constexpr size_t kMost = 16;
    std::string text;
    while (text.size() < kMost) {
      KL_ASSIGN(const bool more, fill(1));
      if (!more) return bad("the last frame is cut off");
      const char c = static_cast<char>(buffer_[at_++]);
      if (c == ' ' || c == '\n') return text;
      text += c;
    }
    return bad("a frame that is no picture of 8 bits");
  }

  ChildProcess& child_;      // Borrowed from the caller, like the next.
  const std::string& path_;  // for messages
  std::vector<std::byte> buffer_;
  size_t at_ = 0;  // what is read of the buffer
};

/// ffmpeg gets a rate for its output, and each frame a time that fits it, so that none is dropped
/// or repeated to keep the file's own times.
std::vector<std::string> frames_as_ppm(const std::vector<uint64_t>& numbers) {
  std::string terms;
  for (const uint64_t number : numbers) {
    terms += fmt::format("{}eq(n\\,{})", terms.empty() ? "" : "+", number);
  }
  return {"-map",      "0:v:0",
          "-vf",       fmt::format("select={},settb=1/25,setpts=N", terms),
          "-r",        "25",
          "-f",        "image2pipe",
          "-c:v",      "ppm",
          "-pix_fmt",  "rgb24",
          "-frames:v", std::to_string(numbers.size()),
          "-"};
}

}  // namespace

std::vector<uint64_t> pick_frames(uint64_t n_source, uint32_t n_frames) {
  const uint64_t n = std::min<uint64_t>(n_source, n_frames);
  std::vector<uint64_t> numbers(n);
  for (uint64_t i = 0; i < n; ++i) numbers[i] = i * n_source / n;
  return numbers;
}

std::string time_text(double seconds) {
  const auto whole = static_cast<uint64_t>(std::max(0.0, seconds));
  return fmt::format("{:02}:{:02}", whole / 60, whole % 60);
}

bool is_video(std::span<const std::byte> bytes) {
  const bool is_mp4 = has_text(bytes, 4, "ftyp") || has_text(bytes, 4, "moov");
  const bool is_matroska = has_text(bytes, 0, "\x1a\x45\xdf\xa3");
  const bool is_avi = has_text(bytes, 0, "RIFF") && has_text(bytes, 8, "AVI ");
  return is_mp4 || is_matroska || is_avi || has_text(bytes, 0, "FLV\x01") ||
         has_text(bytes, 0, std::string_view("\0\0\1\xba", 4));
}

Result<Video> read_video_file(const std::string& path, const PatchOptions& options,
                              const std::function<void(size_t, size_t)>& on_frame) {
  KL_TRY(MappedFile::open(path));  // its message is better than that of ffmpeg
  Video video;
  KL_TRY(probe(path, video));
  const std::vector<uint64_t> numbers = pick_frames(video.n_source_frames, kVideoFrames);
  KL_ASSIGN(ChildProcess child, start("ffmpeg", path, {"-nostdin"}, frames_as_ppm(numbers)));
  PpmReader reader(child, path);
  Image image;
  while (video.frames.size() < numbers.size()) {
    KL_ASSIGN(const bool more, reader.read(image));
    if (!more) break;
    const auto number = static_cast<double>(numbers[video.frames.size()]);
    KL_ASSIGN(Patches patches, make_patches(image, options));
    video.frames.push_back({number / video.frame_rate, std::move(patches)});
    if (on_frame) on_frame(video.frames.size(), numbers.size());
  }
  KL_ASSIGN(const int status, child.wait());
  // A damaged end costs frames; what came before it is still a video.
  if (!video.frames.empty()) return video;
  return failure(path, "ffmpeg", child, fmt::format("no frame, and status {}", status));
}

}  // namespace kimberlite::media
