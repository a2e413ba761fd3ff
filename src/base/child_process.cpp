#include "base/child_process.hpp"

#include <algorithm>
#include <filesystem>

#include "base/os.hpp"

namespace kimberlite {

std::optional<std::string> find_program(const std::string& name) {
#ifdef _WIN32
  constexpr char kSeparator = ';';
  const std::string file = name + ".exe";
#else
  constexpr char kSeparator = ':';
  const std::string& file = name;
#endif
  const std::string folders = os::environment("PATH").value_or("");
  for (size_t at = 0; at <= folders.size();) {
    const size_t end = std::min(folders.find(kSeparator, at), folders.size());
    const std::string folder = folders.substr(at, end - at);
    at = end + 1;
    if (folder.empty()) continue;
    const std::string path = folder + '/' + file;
    if (os::is_program(path)) return path;
  }
  return std::nullopt;
}

}  // namespace kimberlite
