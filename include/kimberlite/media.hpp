// Pictures, sounds and videos in a conversation: from files, or as patches of pixels and frames of
// samples.
//
//   auto picture = kimberlite::read_picture(model, "photo.jpg");
//   kimberlite::MediaMessage question{kimberlite::Role::user, {*picture, "What is this?"}};
//   auto prompt = kimberlite::encode_media_chat(model, {question});
//   auto read = kimberlite::sync(session, *prompt);
//   auto result = session.generate({}, ...);
//
// A picture that was asked about before, in whatever prompt, is not computed again while it is
// among the last ones. Threads: encode_media_chat() uses the model's device, so it belongs to the
// thread that drives the sessions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kimberlite/kimberlite.hpp"

namespace kimberlite {

/// A picture in patches of 48 x 48 pixels, row by row; a patch takes one token.
struct Picture {
  uint32_t n_x = 0;            // patches in a row
  uint32_t n_y = 0;            // rows
  std::vector<float> patches;  // [n_y * n_x, 3, 48, 48]: red, green, blue, each from 0 to 1
};

/// A sound of up to 30 s at 16 kHz, as the model takes it: in frames of 40 ms, each of which takes
/// a token, or where it has an encoder of sounds in mel frames, four of which do.
struct Sound {
  // [n, 640], each from -1 to 1, zeros behind the last sample; or [n, 128], logarithms
  std::vector<float> frames;
};

/// A video: pictures of one size, and when each is shown.
struct Video {
  struct Frame {
    double seconds = 0;  // from the beginning
    Picture picture;
  };
  std::vector<Frame> frames;
};

using Part = std::variant<std::string, Picture, Sound, Video>;

struct MediaMessage {
  Role role = Role::user;
  std::vector<Part> parts;
};

/// What a model takes besides text.
struct MediaSupport {
  bool pictures = false;
  bool sounds = false;
  uint32_t picture_tokens = 0;      // that a picture takes at most unless more are asked for
  uint32_t max_picture_tokens = 0;  // patches of the largest picture
  std::string mmproj;               // the projector's file; empty without one
  std::string reason;               // why there is none
};
[[nodiscard]] MediaSupport media_support(const Model& model);

enum class MediaKind : uint8_t { none, picture, sound, video };
/// What a file holds, by its content; none too where it cannot be read.
[[nodiscard]] MediaKind find_media_kind(const std::string& path);

/// For read_picture: the model's own number of tokens; as many as the pixels are worth.
inline constexpr uint32_t kOwnBudget = 0;
inline constexpr uint32_t kAutoBudget = UINT32_MAX;

/// A PNG, JPEG, WebP, BMP or GIF file (its first frame), turned as its EXIF data says, over white,
/// resized to at most `budget` tokens: 70, 140, 280, 560, 1120 or one of the names above. Errors:
/// io, bad_file, unsupported (a format, or a model without pictures), invalid_argument.
Result<Picture> read_picture(const Model& model, const std::string& path,
                             uint32_t budget = kOwnBudget);

/// A WAV, FLAC, OGG, MP3 or AIFF file of any rate and number of channels, in pieces of at most 30 s
/// that are cut where it is quiet. Errors: as read_picture.
Result<std::vector<Sound>> read_sound(const Model& model, const std::string& path);

/// Up to 32 frames of a video file at even distances, each of at most 70 tokens. Needs the programs
/// ffmpeg and ffprobe in PATH. Errors: as read_picture; unsupported too where they are not found.
Result<Video> read_video(const Model& model, const std::string& path,
                         const Progress& progress = {});

/// Tokens, and what stands in the place of some of them. A value; copies share the embeddings.
class MediaPrompt {
 public:
  /// Of tokens alone.
  explicit MediaPrompt(std::vector<int32_t> tokens);
  ~MediaPrompt();
  MediaPrompt(const MediaPrompt& other);
  MediaPrompt& operator=(const MediaPrompt& other);

  /// With placeholders where pictures and sounds are.
  [[nodiscard]] const std::vector<int32_t>& tokens() const;
  /// Adds tokens behind it, such as those that were generated.
  void append(std::span<const int32_t> tokens);

 private:
  friend struct Access;
  struct State;
  explicit MediaPrompt(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// What a picture or sound is to the model: [n_tokens, width]. Errors: as encode_media_chat.
Result<std::vector<float>> embed(const Model& model, const Picture& picture);
Result<std::vector<float>> embed(const Model& model, const Sound& sound);
/// Of all its frames, one after the other.
Result<std::vector<float>> embed(const Model& model, const Video& video);

/// The prompt of a conversation, ready for the model's turn. Control tokens around media are added
/// here; text can never stand for them. Errors: unsupported (no projector, or none of that kind;
/// a vocabulary without turns or media), invalid_argument (sizes, with both values), out_of_memory,
/// device.
Result<MediaPrompt> encode_media_chat(const Model& model,
                                      const std::vector<MediaMessage>& messages);

/// Session::sync with media: what was computed stays as long as tokens, pictures and sounds are the
/// same; Session::sync() of tokens alone has no media, whatever placeholders are among them.
/// Errors: as Session::sync; invalid_argument for the prompt of another model.
Result<SyncResult> sync(Session& session, const MediaPrompt& prompt, const Progress& progress = {});

}  // namespace kimberlite
