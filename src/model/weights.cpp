#include "model/weights.hpp"

#include "model/weight_loader.hpp"
#include "model/weight_table.hpp"

namespace kimberlite::model {

Result<WeightPlan> Weights::plan(const formats::GgufFile& file, const ModelConfig& config,
                                 const vk::Caps& caps, const LinearPolicy& linear,
                                 uint32_t n_gpu_layers) {
  Weights weights;
  KL_ASSIGN(const WeightTable table, WeightTable::make(file, config, caps, linear, weights));
  return plan_table(table, caps, config.n_layers, n_gpu_layers);
}

Result<std::unique_ptr<Weights>> Weights::load(const formats::GgufFile& file,
                                               const ModelConfig& config, vk::Device& device,
                                               const LoadOptions& options) {
  auto weights = std::make_unique<Weights>();
  KL_ASSIGN(WeightTable table,
            WeightTable::make(file, config, device.caps(), options.linear, *weights));
  weights->device_ = vk::Arena(device, vk::MemoryKind::device, "weights");
  weights->host_ = vk::Arena(device, vk::MemoryKind::host_weights, "weights in host memory");
  KL_TRY(load_table(table, file, device, options, weights->device_, weights->host_));
  return weights;
}

}  // namespace kimberlite::model
