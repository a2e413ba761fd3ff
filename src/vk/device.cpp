// The logical device, its queue and its timeline.
#include "vk/device.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "vk/cooperative_matrix.hpp"
#include "vk/handle.hpp"
#include "vk/vulkan_query.hpp"

namespace kimberlite::vk {
namespace {

/// One slice of a wait: short enough that a simulated or real loss is noticed soon.
constexpr uint64_t kWaitSliceNs = 200'000'000;

ErrorCode error_code(VkResult result) {
  switch (result) {
    case VK_ERROR_DEVICE_LOST:
      return ErrorCode::device_lost;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
      return ErrorCode::out_of_memory;
    default:
      return ErrorCode::device;
  }
}

/// The feature structures of vkCreateDevice, chained to each other: so it must not be moved.
struct FeatureChain {
  VkPhysicalDeviceFeatures2 all =
      vk_info<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  VkPhysicalDeviceVulkan11Features v11 = vk_info<VkPhysicalDeviceVulkan11Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
  VkPhysicalDeviceVulkan12Features v12 = vk_info<VkPhysicalDeviceVulkan12Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  VkPhysicalDeviceVulkan13Features v13 = vk_info<VkPhysicalDeviceVulkan13Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES);

  cooperative_matrix::Features matrix;
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics =
      vk_info<VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR);

  explicit FeatureChain(const DevicePlan& plan) {
    const DeviceFeatures& wanted = plan.features;
    all.pNext = &v11;
    v11.pNext = &v12;
    v12.pNext = &v13;
    if (plan.pipeline_statistics) v13.pNext = &statistics;
    statistics.pipelineExecutableInfo = VK_TRUE;
    if (wanted.cooperative_matrix) {
      matrix.pNext = v13.pNext;
      v13.pNext = &matrix;
    }
    matrix.cooperativeMatrix = VK_TRUE;
    all.features.shaderInt16 = wanted.int16;
    all.features.shaderInt64 = wanted.int64;
    v11.storageBuffer16BitAccess = wanted.storage_16bit;
    v12.timelineSemaphore = wanted.timeline_semaphore;
    v12.hostQueryReset = wanted.host_query_reset;
    v12.bufferDeviceAddress = wanted.buffer_device_address;
    v12.vulkanMemoryModel = wanted.vulkan_memory_model;
    v12.vulkanMemoryModelDeviceScope = wanted.vulkan_memory_model;
    v12.shaderFloat16 = wanted.float16;
    v12.shaderInt8 = wanted.int8;
    v12.storageBuffer8BitAccess = wanted.storage_8bit;
    v12.shaderSubgroupExtendedTypes = wanted.subgroup_extended_types;
    v13.synchronization2 = wanted.synchronization2;
    v13.maintenance4 = wanted.maintenance4;
    v13.shaderIntegerDotProduct = wanted.integer_dot;
    v13.subgroupSizeControl = plan.require_subgroup_size;
    v13.computeFullSubgroups = plan.full_subgroups;
  }
  FeatureChain(const FeatureChain&) = delete;
  FeatureChain& operator=(const FeatureChain&) = delete;
};

}  // namespace

Status check(VkResult result, const char* call) {
  if (result == VK_SUCCESS) return {};
  const std::string_view text(call);
  return Error{error_code(result),
               fmt::format("{} failed: {}", text.substr(0, text.find('(')), result_text(result))};
}

struct Device::State {
  Instance* instance = nullptr;                // Borrowed from the engine.
  VkPhysicalDevice physical = VK_NULL_HANDLE;  // Borrowed from instance.
  DevicePlan plan;
  DeviceSnapshot snapshot;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  Handle<VkSemaphore, &vkDestroySemaphore> timeline;
  uint64_t last_value = 0;  // of the newest submission
  std::atomic<bool> lost = false;
  std::atomic<uint64_t> submits = 0;
  std::atomic<uint64_t> records = 0;
  std::atomic<uint64_t> allocations = 0;
  std::atomic<uint64_t> growths = 0;
  std::atomic<uint64_t> memory_limit = UINT64_MAX;
  std::atomic<uint64_t> allocated_bytes = 0;
  std::atomic<uint64_t> peak_allocated_bytes = 0;

  Error lost_error(const char* during) const {
    return {ErrorCode::device_lost,
            fmt::format("{}: the device was lost during {}", snapshot.name, during)};
  }
};

Device::Device() : state_(std::make_unique<State>()) {}

Device::~Device() {
  if (state_->device == VK_NULL_HANDLE) return;
  vkDeviceWaitIdle(state_->device);
  state_->timeline = {};
  vkDestroyDevice(state_->device, nullptr);
}

Result<std::unique_ptr<Device>> Device::make(Instance& instance, size_t index,
                                             const DevicePlan& plan) {
  std::unique_ptr<Device> result(new Device());
  State& state = *result->state_;
  state.instance = &instance;
  state.plan = plan;
  state.physical = instance.physical_device(index);
  state.snapshot = instance.snapshots()[index];

  const float priority = 1.0f;
  auto queue = vk_info<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
  queue.queueFamilyIndex = plan.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  std::vector<const char*> extensions;
  for (const std::string& extension : plan.extensions) extensions.push_back(extension.c_str());
  const FeatureChain features(plan);
  auto info = vk_info<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  info.pNext = &features.all;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  KL_VK(vkCreateDevice(state.physical, &info, nullptr, &state.device));
  vkGetDeviceQueue(state.device, plan.queue_family, 0, &state.queue);

  auto type = vk_info<VkSemaphoreTypeCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  auto semaphore_info = vk_info<VkSemaphoreCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO);
  semaphore_info.pNext = &type;
  VkSemaphore semaphore = VK_NULL_HANDLE;
  KL_VK(vkCreateSemaphore(state.device, &semaphore_info, nullptr, &semaphore));
  state.timeline = {state.device, semaphore};
  return result;
}

VkDevice Device::get() const { return state_->device; }
const Caps& Device::caps() const { return state_->plan.caps; }
const DevicePlan& Device::plan() const { return state_->plan; }
const DeviceSnapshot& Device::snapshot() const { return state_->snapshot; }
Instance& Device::instance() const { return *state_->instance; }

Result<uint64_t> Device::submit(std::span<const VkCommandBuffer> commands) {
  State& state = *state_;
  if (state.lost) return state.lost_error("submit");
  const uint64_t value = state.last_value + 1;
  const VkSemaphore semaphore = state.timeline.get();
  auto timeline =
      vk_info<VkTimelineSemaphoreSubmitInfo>(VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
  timeline.signalSemaphoreValueCount = 1;
  timeline.pSignalSemaphoreValues = &value;
  auto info = vk_info<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
  info.pNext = &timeline;
  info.commandBufferCount = static_cast<uint32_t>(commands.size());
  info.pCommandBuffers = commands.data();
  info.signalSemaphoreCount = 1;
  info.pSignalSemaphores = &semaphore;
  const VkResult result = vkQueueSubmit(state.queue, 1, &info, VK_NULL_HANDLE);
  if (result == VK_ERROR_DEVICE_LOST) {
    state.lost = true;
    return state.lost_error("submit");
  }
  KL_TRY(check(result, "vkQueueSubmit"));
  state.last_value = value;
  ++state.submits;
  return value;
}

Status Device::wait(uint64_t value) {
  State& state = *state_;
  // A value that was never submitted would be waited for without end.
  KL_CHECK(value <= state.last_value, "waiting for a timeline value that was never submitted");
  const VkSemaphore semaphore = state.timeline.get();
  auto info = vk_info<VkSemaphoreWaitInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO);
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore;
  info.pValues = &value;
  for (;;) {
    if (state.lost) return state.lost_error("wait");
    const VkResult result = vkWaitSemaphores(state.device, &info, kWaitSliceNs);
    if (result == VK_SUCCESS) return {};
    if (result == VK_ERROR_DEVICE_LOST) {
      state.lost = true;
    } else if (result != VK_TIMEOUT) {
      return check(result, "vkWaitSemaphores");
    }
  }
}

Status Device::run(std::span<const VkCommandBuffer> commands) {
  KL_ASSIGN(const uint64_t value, submit(commands));
  return wait(value);
}

uint64_t Device::last_submitted() const { return state_->last_value; }

bool Device::reached(uint64_t value) const {
  uint64_t now = 0;
  if (vkGetSemaphoreCounterValue(state_->device, state_->timeline.get(), &now) != VK_SUCCESS)
    return false;
  return now >= value;
}

std::vector<Device::HeapBudget> Device::heap_budgets() const {
  const State& state = *state_;
  auto budget = vk_info<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
  std::vector<HeapBudget> budgets;
  if (!state.plan.features.memory_budget) return budgets;
  auto memory = vk_info<VkPhysicalDeviceMemoryProperties2>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  memory.pNext = &budget;
  vkGetPhysicalDeviceMemoryProperties2(state.physical, &memory);
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i)
    budgets.push_back({budget.heapBudget[i], budget.heapUsage[i]});
  return budgets;
}

uint64_t Device::free_bytes() const {
  const State& state = *state_;
  const uint32_t type = state.plan.memory_types[static_cast<size_t>(MemoryKind::device)].front();
  const uint32_t heap = state.snapshot.memory_types[type].heap;
  const std::vector<HeapBudget> budgets = heap_budgets();
  const uint64_t held = state.allocated_bytes;
  uint64_t has = state.snapshot.heaps[heap].n_bytes, used = held;
  if (heap < budgets.size()) {
    has = budgets[heap].budget_bytes;
    used = budgets[heap].usage_bytes;
  }
  const uint64_t left = has > used ? has - used : 0;
  return std::min(left, state.memory_limit > held ? state.memory_limit - held : 0);
}

void Device::limit_memory(uint64_t n_bytes) { state_->memory_limit = n_bytes; }
uint64_t Device::memory_limit() const { return state_->memory_limit; }

void Device::simulate_loss() {
  // On a device that is really lost nothing is pending, so its objects may be destroyed at once.
  vkDeviceWaitIdle(state_->device);
  state_->lost = true;
}

Device::Counters Device::counters() const {
  Counters counters;
  counters.submits = state_->submits;
  counters.records = state_->records;
  counters.allocations = state_->allocations;
  counters.growths = state_->growths;
  counters.allocated_bytes = state_->allocated_bytes;
  counters.peak_allocated_bytes = state_->peak_allocated_bytes;
  return counters;
}

void Device::count_record() { ++state_->records; }
void Device::count_growth() { ++state_->growths; }

void Device::count_allocation(int64_t delta_bytes) {
  State& state = *state_;
  // Unsigned addition of a negative number wraps to the right sum.
  const uint64_t delta = static_cast<uint64_t>(delta_bytes);
  const uint64_t now = state.allocated_bytes.fetch_add(delta) + delta;
  if (delta_bytes <= 0) return;
  ++state.allocations;
  uint64_t peak = state.peak_allocated_bytes;
  while (now > peak && !state.peak_allocated_bytes.compare_exchange_weak(peak, now)) {
  }
}

}  // namespace kimberlite::vk
