#include "apps/attachments.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <iterator>

namespace kimberlite::cli {
namespace {

/// A word of a shell's line: what it says, and where it ends in the line.
struct Word {
  std::string text;
  size_t end = 0;
};

Word read_word(const std::string& line, size_t begin) {
  Word word{{}, begin};
  char quote = '\0';
  for (; word.end < line.size(); ++word.end) {
    const char c = line[word.end];
    if (quote != '\0') {
      if (c == quote) {
        quote = '\0';
      } else {
        word.text += c;
      }
    } else if ((c == '"' || c == '\'') && word.text.empty()) {
      quote = c;
    } else if (c == '\\' && word.end + 1 < line.size() && line[word.end + 1] == ' ') {
      word.text += line[++word.end];
    } else if (c == ' ' || c == '\n' || c == '\t') {
      break;
    } else {
      word.text += c;
    }
  }
  return word;
}

/// Nobody means a file by a word without a dot or a slash.
bool may_be_path(const std::string& word) {
  return word.find_first_of("./\\") != std::string::npos;
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") + 1 - first);
}

}  // namespace

void add_media_options(CLI::App& command, MediaArguments& arguments) {
  const auto add = [&command](const char* name, std::vector<std::string>& paths, const char* what) {
    command.add_option(name, paths, what)->option_text("FILE")->expected(1)->take_all();
  };
  add("--image", arguments.images, "a picture for the prompt; may be repeated");
  add("--audio", arguments.sounds, "a sound for the prompt; may be repeated");
  add("--video", arguments.videos, "a video for the prompt, read by ffmpeg; may be repeated");
  command
      .add_option("--image-budget", arguments.budget,
                  "tokens of a picture: 70, 140, 280, 560, 1120 or auto [the model's]")
      ->check(CLI::IsMember({"own", "auto", "70", "140", "280", "560", "1120"}))
      ->option_text("N");
}

uint32_t parse_budget(const std::string& text) {
  if (text == "auto") return kAutoBudget;
  return parse_count(text).value_or(kOwnBudget);
}

Status check_files(const MediaArguments& arguments) {
  for (const auto* paths : {&arguments.images, &arguments.sounds, &arguments.videos}) {
    for (const std::string& path : *paths) {
      const std::u8string name(path.begin(), path.end());
      std::error_code why;
      if (std::filesystem::exists(std::filesystem::path(name), why)) continue;
      return Error{ErrorCode::io,
                   fmt::format("{}: {}", path, why ? why.message() : "there is no such file")};
    }
  }
  return {};
}

Result<std::vector<Part>> read_file(const Model& model, const std::string& path, MediaKind kind,
                                    uint32_t budget) {
  std::vector<Part> parts;
  if (kind == MediaKind::sound) {
    auto sounds = read_sound(model, path);
    if (!sounds.ok()) return sounds.error();
    if (sounds->size() > 1) {
      fmt::print(stderr, "note: {} is longer than 30 s; the model gets it in {} pieces\n",
                 terminal_safe(path), sounds->size());
    }
    std::move(sounds->begin(), sounds->end(), std::back_inserter(parts));
  } else if (kind == MediaKind::video) {
    ProgressLine line;
    auto video = read_video(model, path, line.callback());
    if (!video.ok()) return video.error();
    parts.emplace_back(std::move(video).value());
  } else {
    auto picture = read_picture(model, path, budget);
    if (!picture.ok()) return picture.error();
    parts.emplace_back(std::move(picture).value());
  }
  return parts;
}

Result<std::vector<Part>> read_media(const Model& model, const MediaArguments& arguments) {
  std::vector<Part> parts;
  const uint32_t budget = parse_budget(arguments.budget);
  for (const auto& [kind, paths] : {std::pair{MediaKind::picture, &arguments.images},
                                    {MediaKind::sound, &arguments.sounds},
                                    {MediaKind::video, &arguments.videos}}) {
    for (const std::string& path : *paths) {
      auto more = read_file(model, path, kind, budget);
      if (!more.ok()) return more.error();
      std::move(more->begin(), more->end(), std::back_inserter(parts));
    }
  }
  return parts;
}

DroppedPaths find_dropped_paths(const std::string& message) {
  DroppedPaths found;
  size_t kept_from = 0;
  for (size_t i = 0; i < message.size();) {
    const Word word = read_word(message, i);
    if (word.end == i) {
      ++i;
      continue;
    }
    if (may_be_path(word.text) && find_media_kind(word.text) != MediaKind::none) {
      found.text += message.substr(kept_from, i - kept_from);
      found.paths.push_back(word.text);
      found.begins_with_one = found.begins_with_one || i == 0;
      kept_from = word.end;
    }
    i = word.end;
  }
  found.text = trimmed(found.text + message.substr(kept_from));
  return found;
}

}  // namespace kimberlite::cli
