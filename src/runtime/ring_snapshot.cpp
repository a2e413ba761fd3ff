#include "runtime/ring_snapshot.hpp"

#include <vector>

namespace kimberlite::runtime {
namespace {

/// K and V of every ring that is shorter than the context.
std::vector<graph::Tensor> ring_tensors(const KvCache& cache) {
  std::vector<graph::Tensor> tensors;
  for (const kernels::KvCacheView& layer : cache.own_layers()) {
    if (layer.window == 0 || layer.n_rows >= cache.context()) continue;
    tensors.insert(tensors.end(), {layer.k, layer.v});
  }
  return tensors;
}

}  // namespace

uint64_t RingSnapshot::n_bytes(const KvCache& cache) {
  uint64_t n_bytes = 0;
  for (const graph::Tensor& tensor : ring_tensors(cache)) n_bytes += tensor.n_bytes;
  return n_bytes;
}

Result<std::unique_ptr<RingSnapshot>> RingSnapshot::make(vk::Device& device, const KvCache& cache) {
  std::unique_ptr<RingSnapshot> snapshot(new RingSnapshot(device));
  snapshot->arena_ = vk::Arena(device, vk::MemoryKind::device, "ring snapshot");
  std::vector<uint64_t> sizes;
  for (const graph::Tensor& tensor : ring_tensors(cache)) sizes.push_back(tensor.n_bytes);
  KL_ASSIGN(snapshot->copies_, snapshot->arena_.allocate(sizes));
  KL_ASSIGN(snapshot->save_, snapshot->record(cache, /*saving=*/true));
  KL_ASSIGN(snapshot->restore_, snapshot->record(cache, /*saving=*/false));
  return snapshot;
}

Result<vk::CommandBuffer> RingSnapshot::record(const KvCache& cache, bool saving) {
  KL_ASSIGN(vk::Recorder recorder,
            vk::Recorder::begin(*device_, saving ? "save rings" : "restore rings"));
  recorder.barrier(vk::Access::compute, vk::Access::transfer);
  recorder.barrier(vk::Access::transfer, vk::Access::transfer);
  auto copy = copies_.begin();
  for (const graph::Tensor& tensor : ring_tensors(cache)) {
    const vk::BufferRange ring{tensor.buffer, tensor.offset_bytes, tensor.n_bytes};
    recorder.copy(saving ? ring : *copy, saving ? *copy : ring, tensor.n_bytes);
    ++copy;
  }
  recorder.barrier(vk::Access::transfer, vk::Access::compute);
  device_->count_record();
  return recorder.finish();
}

Status RingSnapshot::run(const vk::CommandBuffer& commands) {
  const VkCommandBuffer raw = commands.get();
  KL_ASSIGN(const uint64_t value, device_->submit({&raw, 1}));
  return device_->wait(value);
}

Status RingSnapshot::save(uint32_t n_cached) {
  n_cached_ = 0;
  KL_TRY(run(save_));
  n_cached_ = n_cached;
  return {};
}

Status RingSnapshot::restore() { return run(restore_); }

}  // namespace kimberlite::runtime
