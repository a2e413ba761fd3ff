// File names are UTF-8 everywhere in Kimberlite; std::filesystem needs to be told so on Windows.
#pragma once

#include <filesystem>
#include <string>

namespace kimberlite {

inline std::filesystem::path utf8_path(const std::string& path) {
  return {std::u8string(path.begin(), path.end())};
}

inline std::string to_utf8(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return {text.begin(), text.end()};
}

}  // namespace kimberlite
