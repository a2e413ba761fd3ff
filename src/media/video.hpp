// Videos as Gemma 4 takes them: up to 32 frames at even distances, each a picture, with the time at
// which it is shown. Files are read by ffmpeg and ffprobe, programs that are found when they are
// needed and never linked; they may open nothing but the file itself. Thread rule: functions share
// nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "media/patches.hpp"

namespace kimberlite::media {

inline constexpr uint32_t kVideoFrames = 32;
/// Tokens of a frame, where nobody wants more.
inline constexpr uint32_t kFrameBudget = 70;
/// Frames a second of files that do not say it.
inline constexpr double kDefaultFrameRate = 24.0;

struct VideoFrame {
  double seconds = 0;  // from the beginning
  Patches patches;
};

struct Video {
  std::vector<VideoFrame> frames;  // at least one, all of one size
  uint64_t n_source_frames = 0;    // of the file
  double frame_rate = 0;           // of the file, a second
};

/// Frames that stand for `n_source` of them: at n * n_source / n_frames; all where they are fewer.
[[nodiscard]] std::vector<uint64_t> pick_frames(uint64_t n_source, uint32_t n_frames);

/// "mm:ss", as prompts write the time of a frame.
[[nodiscard]] std::string time_text(double seconds);

/// Whether the bytes start like a video in a container that is common.
[[nodiscard]] bool is_video(std::span<const std::byte> bytes);

/// `on_frame` gets how many of how many there are. Errors: io (no file), unsupported (no ffmpeg),
/// bad_file (no video in it, or one that cannot be decoded: what ffmpeg says), invalid_argument for
/// options that no projector takes.
Result<Video> read_video_file(const std::string& path, const PatchOptions& options,
                              const std::function<void(size_t, size_t)>& on_frame = {});

}  // namespace kimberlite::media
