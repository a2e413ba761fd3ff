#include "runtime/projector.hpp"

#include <fmt/format.h>

#include "runtime/companions.hpp"

namespace kimberlite::runtime {
namespace {

model::LinearPolicy float_products() {
  model::LinearPolicy linear;
  linear.precise = true;
  return linear;
}

}  // namespace

Result<Projector> Projector::open(const std::string& path, const model::ModelConfig& target) {
  KL_ASSIGN(formats::GgufFile file, formats::GgufFile::open(path));
  return make(std::move(file), target);
}

Result<Projector> Projector::make(formats::GgufFile file, const model::ModelConfig& target) {
  KL_ASSIGN(model::ProjectorConfig config, model::read_projector_config(file));
  const Status fits = model::check_projector(config, target);
  if (!fits.ok()) {
    return Error{fits.error().code, fmt::format("{}: {}", file.path(), fits.error().message)};
  }
  return Projector(std::move(file), std::move(config));
}

Result<model::WeightPlan> Projector::plan(const vk::Caps& caps) const {
  return model::ProjectorWeights::plan(file_, config_, caps, float_products());
}

Status Projector::load(vk::Device& device, const model::LoadOptions& options) {
  model::LoadOptions own = options;
  own.linear = float_products();
  KL_ASSIGN(weights_, model::ProjectorWeights::load(file_, config_, device, own));
  return {};
}

ProjectorSearch find_projector(const std::string& model_path, const model::ModelConfig& target) {
  ProjectorSearch search;
  for (const std::string& path : list_companions(model_path)) {
    auto file = formats::GgufFile::open(path);
    if (!file.ok() || !model::is_projector(*file)) continue;
    auto projector = Projector::make(std::move(file).value(), target);
    if (projector.ok()) return {std::move(projector).value(), {}};
    if (search.reason.empty()) search.reason = projector.error().message;
  }
  if (search.reason.empty()) search.reason = "no projector lies beside the model";
  return search;
}

}  // namespace kimberlite::runtime
