#include "model/projector_weights.hpp"

#include "model/weight_loader.hpp"
#include "model/weight_table.hpp"

namespace kimberlite::model {

Result<WeightPlan> ProjectorWeights::plan(const formats::GgufFile& file,
                                          const ProjectorConfig& config, const vk::Caps& caps,
                                          const LinearPolicy& linear) {
  ProjectorWeights weights;
  KL_ASSIGN(const WeightTable table, WeightTable::make(file, config, caps, linear, weights));
  return plan_table(table, caps, 0, UINT32_MAX);
}

Result<std::unique_ptr<ProjectorWeights>> ProjectorWeights::load(const formats::GgufFile& file,
                                                                 const ProjectorConfig& config,
                                                                 vk::Device& device,
                                                                 const LoadOptions& options) {
  auto weights = std::make_unique<ProjectorWeights>();
  KL_ASSIGN(WeightTable table,
            WeightTable::make(file, config, device.caps(), options.linear, *weights));
  weights->device_ = vk::Arena(device, vk::MemoryKind::device, "projector");
  LoadOptions on_device = options;
  on_device.n_gpu_layers = UINT32_MAX;
  vk::Arena none;
  KL_TRY(load_table(table, file, device, on_device, weights->device_, none));
  return weights;
}

}  // namespace kimberlite::model
