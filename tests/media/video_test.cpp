#include "media/video.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/child_process.hpp"
#include "base/mapped_file.hpp"

namespace kimberlite::media {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kWidth = 64;
constexpr uint32_t kHeight = 40;

/// Frame number i of every test video.
Image make_frame(uint32_t i) {
  Image image{kWidth, kHeight, {}};
  for (uint32_t y = 0; y < kHeight; ++y) {
    for (uint32_t x = 0; x < kWidth; ++x) {
      for (const uint32_t value : {i * 5, x * 4 + i, (x ^ y) * 3}) {
        image.pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return image;
}

class VideoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!find_program("ffmpeg") || !find_program("ffprobe")) GTEST_SKIP() << "no ffmpeg in PATH";
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("kimberlite-video-{}", static_cast<const void*>(this));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void write(const std::string& name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  /// Frames without loss, so that what is read can be compared bit by bit.
  std::string encode(const std::string& name, uint32_t n_frames, const std::string& rate,
                     std::vector<std::string> codec = {"-c:v", "ffv1", "-pix_fmt", "gbrp"}) const {
    std::string raw;
    for (uint32_t i = 0; i < n_frames; ++i) {
      const Image image = make_frame(i);
      raw.append(image.pixels.begin(), image.pixels.end());
    }
    write("raw.rgb", raw);
    std::vector<std::string> arguments{
        "-v",       "error",    "-nostdin", "-y",           "-f",
        "rawvideo", "-pix_fmt", "rgb24",    "-s",           fmt::format("{}x{}", kWidth, kHeight),
        "-r",       rate,       "-i",       path("raw.rgb")};
    arguments.insert(arguments.end(), codec.begin(), codec.end());
    arguments.push_back(path(name));
    auto child = ChildProcess::start(*find_program("ffmpeg"), arguments);
    KL_CHECK(child.ok(), "ffmpeg was found");
    const auto status = child->wait();
    EXPECT_EQ(status.ok() ? *status : -1, 0) << child->errors();
    return path(name);
  }

  static PatchOptions options() { return {.budget = kFrameBudget}; }

  static std::string error_of(const std::string& file) {
    const auto video = read_video_file(file, options());
    if (video.ok()) return "no error";
    EXPECT_THAT(video.error().message, HasSubstr(file));
    return video.error().message;
  }

  std::filesystem::path folder_;
};

TEST(VideoFrames, AreAtEvenDistances) {
  EXPECT_THAT(pick_frames(7, 3), ElementsAre(0, 2, 4));
  EXPECT_THAT(pick_frames(64, 4), ElementsAre(0, 16, 32, 48));
  EXPECT_THAT(pick_frames(2, 32), ElementsAre(0, 1));
  EXPECT_EQ(pick_frames(1'000'000'007, 32).back(), 968'750'006u);
}

TEST(VideoFrames, TimesHaveTwoDigitsAndMore) {
  EXPECT_EQ(time_text(0), "00:00");
  EXPECT_EQ(time_text(61.99), "01:01");
  EXPECT_EQ(time_text(6000), "100:00");
}

TEST_F(VideoTest, FramesAreThoseOfTheFile) {
  const std::string file = encode("clip.mkv", 70, "10");
  std::vector<size_t> reported;
  const auto video = read_video_file(file, options(), [&](size_t n, size_t of) {
    EXPECT_EQ(of, kVideoFrames);
    reported.push_back(n);
  });
  ASSERT_TRUE(video.ok()) << video.error().message;
  EXPECT_EQ(video->n_source_frames, 70u);
  EXPECT_EQ(video->frame_rate, 10);
  ASSERT_EQ(video->frames.size(), kVideoFrames);
  EXPECT_EQ(reported.size(), kVideoFrames);
  for (uint32_t i = 0; i < kVideoFrames; ++i) {
    const uint32_t number = i * 70 / 32;
    const auto expected = make_patches(make_frame(number), options());
    EXPECT_EQ(video->frames[i].seconds, number / 10.0);
    EXPECT_EQ(video->frames[i].patches.n_x, expected->n_x);
    EXPECT_EQ(video->frames[i].patches.values, expected->values) << "frame " << i;
  }
}

TEST_F(VideoTest, ShortOnesGiveAllTheyHave) {
  const auto video = read_video_file(encode("a short clip.avi", 3, "30000/1001"), options());
  ASSERT_TRUE(video.ok()) << video.error().message;
  EXPECT_EQ(video->frames.size(), 3u);
  EXPECT_NEAR(video->frames[2].seconds, 2 * 1001 / 30000.0, 1e-9);
}

TEST_F(VideoTest, CommonContainersAreVideos) {
  const std::vector<std::string> lossy = {"-c:v", "mpeg4"};
  for (const char* name : {"clip.mp4", "clip.mov", "clip.mkv", "clip.avi"}) {
    const auto file = MappedFile::open(encode(name, 2, "25", lossy));
    EXPECT_TRUE(is_video(file->bytes())) << name;
    EXPECT_TRUE(read_video_file(path(name), options()).ok()) << name;
  }
  EXPECT_FALSE(is_video({}));
  EXPECT_FALSE(is_video(std::as_bytes(std::span("RIFF____WAVE"))));
}

TEST_F(VideoTest, BadFilesAreErrors) {
  EXPECT_THAT(error_of(path("none.mp4")), HasSubstr("cannot open"));
  write("words.mp4", "no video at all, but some words");
  EXPECT_THAT(error_of(path("words.mp4")), HasSubstr("ffprobe: "));
  write("empty.mp4", "");
  EXPECT_THAT(error_of(path("empty.mp4")), HasSubstr("ffprobe: "));
  const std::string whole = encode("clip.mp4", 40, "25", {"-c:v", "mpeg4"});
  std::filesystem::resize_file(whole, 100);
  EXPECT_THAT(error_of(whole), HasSubstr("ffprobe: "));
}

TEST_F(VideoTest, ACutFileGivesWhatIsThere) {
  const std::string file = encode("clip.mkv", 40, "10");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const auto video = read_video_file(file, options());
  ASSERT_TRUE(video.ok()) << video.error().message;
  EXPECT_GE(video->frames.size(), 10u);
}

/// Lists of files are videos to ffmpeg; they may not make it open what they name.
TEST_F(VideoTest, ListsOfFilesAreRefused) {
  encode("clip.mkv", 3, "10");
  write("list.mp4", "ffconcat version 1.0\nfile clip.mkv\n");
  EXPECT_THAT(error_of(path("list.mp4")), HasSubstr("ffprobe: "));
  write("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip.mkv\n#EXT-X-ENDLIST\n");
  EXPECT_THAT(error_of(path("list.m3u8")), HasSubstr("ffprobe: "));
}

}  // namespace
}  // namespace kimberlite::media
