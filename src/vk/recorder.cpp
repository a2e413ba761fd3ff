#include "vk/recorder.hpp"

#include "base/numeric.hpp"

namespace kimberlite::vk {
namespace {

struct Scope {
  VkPipelineStageFlags2 stage;
  VkAccessFlags2 reads;
  VkAccessFlags2 writes;
};

Scope scope_of(Access access) {
  switch (access) {
    case Access::compute:
      // Texel fetches count as sampled reads.
      return {VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
              VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_SAMPLED_READ_BIT |
                  VK_ACCESS_2_UNIFORM_READ_BIT,
              VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT};
    case Access::indirect:
      return {VK_PIPELINE_STAGE_2_DRAW_INDIRECT_BIT, VK_ACCESS_2_INDIRECT_COMMAND_READ_BIT, 0};
    case Access::transfer:
      return {VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, VK_ACCESS_2_TRANSFER_READ_BIT,
              VK_ACCESS_2_TRANSFER_WRITE_BIT};
    case Access::host:
      return {VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT, VK_ACCESS_2_HOST_WRITE_BIT};
  }
  return {};
}

void record_barrier(VkCommandBuffer commands, const Scope& from, const Scope& to) {
  auto barrier = vk_info<VkMemoryBarrier2>(VK_STRUCTURE_TYPE_MEMORY_BARRIER_2);
  barrier.srcStageMask = from.stage;
  barrier.srcAccessMask = from.writes;
  barrier.dstStageMask = to.stage;
  barrier.dstAccessMask = to.reads | to.writes;
  auto info = vk_info<VkDependencyInfo>(VK_STRUCTURE_TYPE_DEPENDENCY_INFO);
  info.memoryBarrierCount = 1;
  info.pMemoryBarriers = &barrier;
  vkCmdPipelineBarrier2(commands, &info);
}

void check_inside(const BufferRange& range, uint64_t offset, uint64_t n_bytes) {
  KL_CHECK(range.buffer != nullptr, "range without a buffer");
  KL_CHECK(offset <= range.n_bytes && n_bytes <= range.n_bytes - offset, "outside the range");
}

}  // namespace

Result<Recorder> Recorder::begin(Device& device, const std::string& name, uint32_t n_timestamps) {
  Recorder recorder;
  recorder.device_ = &device;
  CommandBuffer& commands = recorder.commands_;
  auto pool_info = vk_info<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  pool_info.queueFamilyIndex = device.plan().queue_family;
  VkCommandPool pool = VK_NULL_HANDLE;
  KL_VK(vkCreateCommandPool(device.get(), &pool_info, nullptr, &pool));
  commands.pool_ = {device.get(), pool};
  auto info = vk_info<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
  info.commandPool = pool;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  KL_VK(vkAllocateCommandBuffers(device.get(), &info, &commands.buffer_));
  if (vkSetDebugUtilsObjectNameEXT != nullptr) {
    auto named =
        vk_info<VkDebugUtilsObjectNameInfoEXT>(VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT);
    named.objectType = VK_OBJECT_TYPE_COMMAND_BUFFER;
    named.objectHandle = reinterpret_cast<uint64_t>(commands.buffer_);
    named.pObjectName = name.c_str();
    vkSetDebugUtilsObjectNameEXT(device.get(), &named);
  }
  if (n_timestamps > 0) {
    auto query_info = vk_info<VkQueryPoolCreateInfo>(VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO);
    query_info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    query_info.queryCount = n_timestamps;
    VkQueryPool queries = VK_NULL_HANDLE;
    KL_VK(vkCreateQueryPool(device.get(), &query_info, nullptr, &queries));
    commands.queries_ = {device.get(), queries};
    commands.n_timestamps_ = n_timestamps;
  }
  auto begin_info = vk_info<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  KL_VK(vkBeginCommandBuffer(commands.buffer_, &begin_info));
  if (n_timestamps > 0)
    vkCmdResetQueryPool(commands.buffer_, commands.queries_.get(), 0, n_timestamps);
  return recorder;
}

void Recorder::bind(const Pipeline& pipeline, VkDescriptorSet set) {
  vkCmdBindPipeline(commands_.get(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline.get());
  vkCmdBindDescriptorSets(commands_.get(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout.get(), 0,
                          1, &set, 0, nullptr);
}

void Recorder::push(const Pipeline& pipeline, const void* data, uint32_t n_bytes) {
  vkCmdPushConstants(commands_.get(), pipeline.layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                     n_bytes, data);
}

void Recorder::dispatch(uint32_t x, uint32_t y, uint32_t z) {
  vkCmdDispatch(commands_.get(), x, y, z);
}

void Recorder::dispatch_indirect(const BufferRange& range, uint64_t offset_bytes) {
  check_inside(range, offset_bytes, sizeof(VkDispatchIndirectCommand));
  vkCmdDispatchIndirect(commands_.get(), range.buffer->get(), range.offset_bytes + offset_bytes);
}

void Recorder::barrier(Access from, Access to) {
  record_barrier(commands_.get(), scope_of(from), scope_of(to));
}

void Recorder::compute_barrier() {
  Scope to = scope_of(Access::compute);
  const Scope indirect = scope_of(Access::indirect);
  to.stage |= indirect.stage;
  to.reads |= indirect.reads;
  record_barrier(commands_.get(), scope_of(Access::compute), to);
}

void Recorder::copy(const BufferRange& from, const BufferRange& to, uint64_t n_bytes,
                    uint64_t from_offset_bytes, uint64_t to_offset_bytes) {
  check_inside(from, from_offset_bytes, n_bytes);
  check_inside(to, to_offset_bytes, n_bytes);
  const VkBufferCopy region{from.offset_bytes + from_offset_bytes,
                            to.offset_bytes + to_offset_bytes, n_bytes};
  vkCmdCopyBuffer(commands_.get(), from.buffer->get(), to.buffer->get(), 1, &region);
}

void Recorder::fill(const BufferRange& range, uint32_t value) {
  KL_CHECK(range.offset_bytes % 4 == 0 && range.n_bytes % 4 == 0, "fill needs multiples of 4");
  vkCmdFillBuffer(commands_.get(), range.buffer->get(), range.offset_bytes, range.n_bytes, value);
}

void Recorder::timestamp(uint32_t index) {
  KL_CHECK(index < commands_.n_timestamps_, "timestamp index out of range");
  vkCmdWriteTimestamp2(commands_.get(), VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                       commands_.queries_.get(), index);
}

void Recorder::begin_label(const char* name) {
  if (vkCmdBeginDebugUtilsLabelEXT == nullptr) return;
  auto label = vk_info<VkDebugUtilsLabelEXT>(VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT);
  label.pLabelName = name;
  vkCmdBeginDebugUtilsLabelEXT(commands_.get(), &label);
}

void Recorder::end_label() {
  if (vkCmdEndDebugUtilsLabelEXT != nullptr) vkCmdEndDebugUtilsLabelEXT(commands_.get());
}

Result<CommandBuffer> Recorder::finish() {
  KL_VK(vkEndCommandBuffer(commands_.get()));
  return std::move(commands_);
}

Result<std::vector<double>> CommandBuffer::read_timestamps(const Device& device) const {
  const DeviceSnapshot& snapshot = device.snapshot();
  const uint32_t bits = snapshot.queue_families[device.plan().queue_family].timestamp_bits;
  if (bits == 0) {
    return Error{ErrorCode::unsupported,
                 snapshot.name + ": its compute queue writes no timestamps (0 valid bits)"};
  }
  std::vector<uint64_t> ticks(n_timestamps_);
  if (n_timestamps_ > 0) {
    KL_VK(vkGetQueryPoolResults(device.get(), queries_.get(), 0, n_timestamps_,
                                ticks.size() * sizeof(uint64_t), ticks.data(), sizeof(uint64_t),
                                VK_QUERY_RESULT_64_BIT));
  }
  const uint64_t mask = bits >= 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  std::vector<double> nanoseconds;
  // Relative to the first, so that the counter's wrap and a double's 53 bits do not matter.
  for (const uint64_t tick : ticks)
    nanoseconds.push_back(static_cast<double>((tick - ticks.front()) & mask) *
                          static_cast<double>(snapshot.limits.timestamp_period_ns));
  return nanoseconds;
}

}  // namespace kimberlite::vk
