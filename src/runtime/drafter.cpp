#include "runtime/drafter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "formats/utf8_path.hpp"

namespace kimberlite::runtime {
namespace {

/// GGUF files beside `model_path` that are smaller, as drafters are, in the order of their names.
std::vector<std::string> smaller_neighbours(const std::string& model_path) {
  namespace fs = std::filesystem;
  const fs::path model = formats::utf8_path(model_path);
  const fs::path folder = model.has_parent_path() ? model.parent_path() : fs::path(".");
  std::error_code failure;
  const uintmax_t model_bytes = fs::file_size(model, failure);
  std::vector<std::string> paths;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end;
       at.increment(failure)) {
    std::error_code unknown;
    if (at->path().extension() != ".gguf" || !at->is_regular_file(unknown)) continue;
    if (at->file_size(unknown) < model_bytes) paths.push_back(formats::to_utf8(at->path()));
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

Result<Drafter> Drafter::open(const std::string& path, const model::ModelConfig& target) {
  KL_ASSIGN(formats::GgufFile file, formats::GgufFile::open(path));
  return make(std::move(file), target);
}

Result<Drafter> Drafter::make(formats::GgufFile file, const model::ModelConfig& target) {
  KL_ASSIGN(model::DrafterConfig config, model::read_drafter_config(file));
  auto donors = model::check_pair(config, target);
  if (!donors.ok()) {
    return Error{donors.error().code, fmt::format("{}: {}", file.path(), donors.error().message)};
  }
  return Drafter(std::move(file), std::move(config), *donors);
}

Status Drafter::load(vk::Device& device, const model::LoadOptions& options) {
  KL_ASSIGN(weights_, model::DrafterWeights::load(file_, config_, device, options));
  return {};
}

DrafterSearch find_drafter(const std::string& model_path, const model::ModelConfig& target) {
  DrafterSearch search;
  for (const std::string& path : smaller_neighbours(model_path)) {
    auto file = formats::GgufFile::open(path);
    if (!file.ok() || !model::is_drafter(*file)) continue;
    auto drafter = Drafter::make(std::move(file).value(), target);
    if (drafter.ok()) return {std::move(drafter).value(), {}};
    if (search.reason.empty()) search.reason = drafter.error().message;
  }
  if (search.reason.empty()) search.reason = "no drafter lies beside the model";
  return search;
}

}  // namespace kimberlite::runtime
