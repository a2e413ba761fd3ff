// Pictures and sounds that go with a message: files from the command line, from commands of the
// chat, or dropped into a message as paths.
#pragma once

#include <string>
#include <vector>

#include "apps/common.hpp"
#include "kimberlite/media.hpp"

namespace kimberlite::cli {

struct MediaArguments {
  std::vector<std::string> images;
  std::vector<std::string> sounds;
  std::string budget = "own";

  [[nodiscard]] bool any() const { return !images.empty() || !sounds.empty(); }
};

/// --image, --audio and --image-budget.
void add_media_options(CLI::App& command, MediaArguments& arguments);

/// What --image-budget says, for read_picture.
uint32_t parse_budget(const std::string& text);

/// The parts that a file becomes: a picture, or the pieces of a sound; where there are several, a
/// note on stderr says so. Errors: those of read_picture and read_sound.
Result<std::vector<Part>> read_picture_file(const Model& model, const std::string& path,
                                            uint32_t budget);
Result<std::vector<Part>> read_sound_file(const Model& model, const std::string& path);

/// All that was named, pictures first.
Result<std::vector<Part>> read_media(const Model& model, const MediaArguments& arguments);

/// A message in which words were paths of pictures or sounds, as terminals write files that are
/// dropped on them: quoted, or with a backslash before each space.
struct DroppedPaths {
  std::string text;  // without them
  std::vector<std::string> paths;
  bool begins_with_one = false;
};
DroppedPaths find_dropped_paths(const std::string& message);

}  // namespace kimberlite::cli
