#include "runtime/drafter.hpp"

#include <fmt/format.h>

#include "runtime/companions.hpp"

namespace kimberlite::runtime {
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
  for (const std::string& path : list_companions(model_path)) {
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
