#include "runtime/companions.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/utf8_path.hpp"

namespace kimberlite::runtime {

std::vector<std::string> list_companions(const std::string& model_path) {
  namespace fs = std::filesystem;
  const fs::path model = utf8_path(model_path);
  const fs::path folder = model.has_parent_path() ? model.parent_path() : fs::path(".");
  std::error_code failure;
  const uintmax_t model_bytes = fs::file_size(model, failure);
  std::vector<std::string> paths;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end;
       at.increment(failure)) {
    std::error_code unknown;
    if (at->path().extension() != ".gguf" || !at->is_regular_file(unknown)) continue;
    if (at->file_size(unknown) < model_bytes) paths.push_back(to_utf8(at->path()));
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace kimberlite::runtime
