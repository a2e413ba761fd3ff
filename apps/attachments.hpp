// Pictures, sounds and videos that go with a message: files from the command line, from commands of
// the chat, or dropped into a message as paths.
#pragma once

#include <string>
#include <vector>

#include "apps/common.hpp"
#include "kimberlite/media.hpp"

namespace kimberlite::cli {

struct MediaArguments {
  std::vector<std::string> images;
  std::vector<std::string> sounds;
  std::vector<std::string> videos;
  std::string budget = "own";

  [[nodiscard]] bool any() const { return !images.empty() || !sounds.empty() || !videos.empty(); }
};

/// --image, --audio, --video and --image-budget.
void add_media_options(CLI::App& command, MediaArguments& arguments);

/// What --image-budget says, for read_picture.
uint32_t parse_budget(const std::string& text);

/// Before a model is loaded for them: whether the files are there. Errors: io, naming the first
/// that is not.
Status check_files(const MediaArguments& arguments);

/// The parts that a file becomes: a picture, a video, or the pieces of a sound; where there are
/// several, a note on stderr says so. Errors: those of read_picture, read_sound and read_video.
Result<std::vector<Part>> read_file(const Model& model, const std::string& path, MediaKind kind,
                                    uint32_t budget);

/// All that was named, pictures first, then sounds.
Result<std::vector<Part>> read_media(const Model& model, const MediaArguments& arguments);

/// A message in which words were paths of such files, as terminals write files that are
/// dropped on them: quoted, or with a backslash before each space.
struct DroppedPaths {
  std::string text;  // without them
  std::vector<std::string> paths;
  bool begins_with_one = false;
};
DroppedPaths find_dropped_paths(const std::string& message);

}  // namespace kimberlite::cli
