// take_snapshot: the property and feature chains of Vulkan, flattened into DeviceSnapshot.
#include "vk/vulkan_query.hpp"

#include <algorithm>
#include <span>
#include <thread>

#include "vk/cooperative_matrix.hpp"
#include "vk/handle.hpp"

namespace kimberlite::vk {
namespace {

std::string hex(const uint8_t (&bytes)[VK_UUID_SIZE]) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

DeviceType device_type(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return DeviceType::integrated;
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return DeviceType::discrete;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return DeviceType::virtual_gpu;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return DeviceType::cpu;
    default:
      return DeviceType::other;
  }
}

uint32_t to_u32(VkDeviceSize value) {
  return static_cast<uint32_t>(std::min<VkDeviceSize>(value, UINT32_MAX));
}

void read_limits(const VkPhysicalDeviceLimits& from, DeviceLimits& to) {
  to.max_storage_range_bytes = from.maxStorageBufferRange;
  to.max_texel_elements = from.maxTexelBufferElements;
  to.max_allocations = from.maxMemoryAllocationCount;
  to.max_push_bytes = from.maxPushConstantsSize;
  to.max_shared_bytes = from.maxComputeSharedMemorySize;
  to.max_workgroup_invocations = from.maxComputeWorkGroupInvocations;
  std::copy_n(from.maxComputeWorkGroupSize, 3, to.max_workgroup_size);
  std::copy_n(from.maxComputeWorkGroupCount, 3, to.max_grid);
  to.storage_alignment = to_u32(from.minStorageBufferOffsetAlignment);
  to.texel_alignment = to_u32(from.minTexelBufferOffsetAlignment);
  to.timestamp_period_ns = from.timestampPeriod;
}

void read_extensions(VkPhysicalDevice device, DeviceSnapshot& snapshot) {
  uint32_t n = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &n, nullptr);
  std::vector<VkExtensionProperties> extensions(n);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &n, extensions.data());
  extensions.resize(n);
  for (const VkExtensionProperties& extension : extensions)
    snapshot.extensions.emplace_back(extension.extensionName);
  std::sort(snapshot.extensions.begin(), snapshot.extensions.end());
}

void read_properties(VkPhysicalDevice device, DeviceSnapshot& snapshot) {
  auto host = vk_info<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
  auto v13 = vk_info<VkPhysicalDeviceVulkan13Properties>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES);
  auto v12 = vk_info<VkPhysicalDeviceVulkan12Properties>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES);
  auto v11 = vk_info<VkPhysicalDeviceVulkan11Properties>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES);
  auto all = vk_info<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
  // The 1.1 and 1.2 structures came with 1.2; an older driver must not be shown them.
  if (snapshot.api_version >= VK_API_VERSION_1_2) {
    all.pNext = &v11;
    v11.pNext = &v12;
  }
  if (snapshot.api_version >= VK_API_VERSION_1_3) v12.pNext = &v13;
  auto sm = vk_info<VkPhysicalDeviceShaderSMBuiltinsPropertiesNV>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV);
  auto cores = vk_info<VkPhysicalDeviceShaderCorePropertiesAMD>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD);
  const auto add = [&](const char* extension, auto& properties) {
    if (!snapshot.has_extension(extension)) return;
    properties.pNext = all.pNext;
    all.pNext = &properties;
  };
  add(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME, host);
  add(VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME, sm);
  add(VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME, cores);
  vkGetPhysicalDeviceProperties2(device, &all);

  snapshot.limits.n_compute_units = snapshot.type == DeviceType::cpu
                                        ? std::thread::hardware_concurrency()
                                        : sm.shaderSMCount + cores.shaderEngineCount *
                                                                 cores.shaderArraysPerEngineCount *
                                                                 cores.computeUnitsPerShaderArray;
  read_limits(all.properties.limits, snapshot.limits);
  snapshot.pipeline_cache_uuid = hex(all.properties.pipelineCacheUUID);
  snapshot.limits.host_pointer_alignment = to_u32(host.minImportedHostPointerAlignment);
  snapshot.limits.max_allocation_bytes = v11.maxMemoryAllocationSize;
  snapshot.limits.max_buffer_bytes = v13.maxBufferSize;
  snapshot.driver_id = static_cast<uint32_t>(v12.driverID);
  snapshot.driver_name = v12.driverName;
  snapshot.driver_info = v12.driverInfo;
  snapshot.device_uuid = hex(v11.deviceUUID);
  snapshot.driver_uuid = hex(v11.driverUUID);
  snapshot.subgroup.size = v11.subgroupSize;
  snapshot.subgroup.operations = v11.subgroupSupportedOperations;
  snapshot.subgroup.stages = v11.subgroupSupportedStages;
  snapshot.subgroup.min_size = v13.minSubgroupSize;
  snapshot.subgroup.max_size = v13.maxSubgroupSize;
  snapshot.subgroup.required_stages = v13.requiredSubgroupSizeStages;
  DeviceFeatures& features = snapshot.features;
  features.dot_4x8_signed_accelerated = v13.integerDotProduct4x8BitPackedSignedAccelerated != 0;
  features.dot_4x8_mixed_accelerated =
      v13.integerDotProduct4x8BitPackedMixedSignednessAccelerated != 0;
}

void read_features(VkPhysicalDevice device, DeviceSnapshot& snapshot) {
  auto v13 = vk_info<VkPhysicalDeviceVulkan13Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES);
  auto v12 = vk_info<VkPhysicalDeviceVulkan12Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  auto v11 = vk_info<VkPhysicalDeviceVulkan11Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
  auto all = vk_info<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  if (snapshot.api_version >= VK_API_VERSION_1_2) {
    all.pNext = &v11;
    v11.pNext = &v12;
  }
  if (snapshot.api_version >= VK_API_VERSION_1_3) v12.pNext = &v13;
  // Listed by drivers for GPUs that do not have it: the bit tells.
  cooperative_matrix::Features matrix;
  if (snapshot.has_extension(cooperative_matrix::kExtension)) {
    matrix.pNext = all.pNext;
    all.pNext = &matrix;
  }
  vkGetPhysicalDeviceFeatures2(device, &all);

  DeviceFeatures& to = snapshot.features;
  to.int16 = all.features.shaderInt16 != 0;
  to.int64 = all.features.shaderInt64 != 0;
  to.storage_16bit = v11.storageBuffer16BitAccess != 0;
  to.timeline_semaphore = v12.timelineSemaphore != 0;
  to.host_query_reset = v12.hostQueryReset != 0;
  to.buffer_device_address = v12.bufferDeviceAddress != 0;
  to.descriptor_indexing = v12.descriptorIndexing != 0;
  // Without its device scope the model would forbid plain atomics on buffers.
  to.vulkan_memory_model = v12.vulkanMemoryModel != 0 && v12.vulkanMemoryModelDeviceScope != 0;
  to.float16 = v12.shaderFloat16 != 0;
  to.int8 = v12.shaderInt8 != 0;
  to.storage_8bit = v12.storageBuffer8BitAccess != 0;
  to.subgroup_extended_types = v12.shaderSubgroupExtendedTypes != 0;
  to.synchronization2 = v13.synchronization2 != 0;
  to.maintenance4 = v13.maintenance4 != 0;
  to.integer_dot = v13.shaderIntegerDotProduct != 0;
  to.cooperative_matrix = matrix.cooperativeMatrix != 0;
  snapshot.subgroup.size_control = v13.subgroupSizeControl != 0;
  snapshot.subgroup.full_subgroups = v13.computeFullSubgroups != 0;
}

void read_matrices(VkPhysicalDevice device, VkInstance instance, DeviceSnapshot& snapshot) {
  namespace cm = cooperative_matrix;
  if (!snapshot.features.cooperative_matrix) return;
  const auto get =
      reinterpret_cast<cm::GetProperties>(vkGetInstanceProcAddr(instance, cm::kGetProperties));
  if (get == nullptr) return;
  uint32_t n = 0;
  if (get(device, &n, nullptr) != VK_SUCCESS) return;
  std::vector<cm::Properties> all(n);
  if (get(device, &n, all.data()) < VK_SUCCESS) return;
  all.resize(n);
  for (const cm::Properties& one : all) {
    const bool is_int8 = one.AType == cm::kSint8 && one.BType == cm::kSint8 &&
                         one.CType == cm::kSint32 && one.ResultType == cm::kSint32;
    if (!is_int8 || one.scope != cm::kSubgroup || one.saturatingAccumulation != 0) continue;
    snapshot.int8_matrices.push_back({one.MSize, one.NSize, one.KSize});
  }
}

void read_memory(VkPhysicalDevice device, DeviceSnapshot& snapshot) {
  VkPhysicalDeviceMemoryProperties memory{};
  vkGetPhysicalDeviceMemoryProperties(device, &memory);
  for (const VkMemoryHeap& heap : std::span(memory.memoryHeaps, memory.memoryHeapCount)) {
    snapshot.heaps.push_back({heap.size, (heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0});
  }
  constexpr VkMemoryPropertyFlags kOrdinary =
      VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  for (const VkMemoryType& type : std::span(memory.memoryTypes, memory.memoryTypeCount)) {
    const VkMemoryPropertyFlags flags = type.propertyFlags;
    MemoryTypeFacts facts;
    facts.heap = type.heapIndex;
    facts.device_local = (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
    facts.host_visible = (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
    facts.host_coherent = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
    facts.host_cached = (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0;
    facts.special = (flags & ~kOrdinary) != 0;
    snapshot.memory_types.push_back(facts);
  }
}

void read_queues(VkPhysicalDevice device, DeviceSnapshot& snapshot) {
  uint32_t n = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &n, nullptr);
  std::vector<VkQueueFamilyProperties> families(n);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &n, families.data());
  for (const VkQueueFamilyProperties& family : families) {
    QueueFamilyFacts facts;
    facts.n_queues = family.queueCount;
    facts.graphics = (family.queueFlags & VK_QUEUE_GRAPHICS_BIT) != 0;
    facts.compute = (family.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
    facts.transfer = (family.queueFlags & VK_QUEUE_TRANSFER_BIT) != 0;
    facts.timestamp_bits = family.timestampValidBits;
    snapshot.queue_families.push_back(facts);
  }
}

}  // namespace

DeviceSnapshot take_snapshot(VkInstance instance, VkPhysicalDevice device) {
  VkPhysicalDeviceProperties basic{};
  vkGetPhysicalDeviceProperties(device, &basic);
  DeviceSnapshot snapshot;
  snapshot.name = basic.deviceName;
  snapshot.vendor_id = basic.vendorID;
  snapshot.device_id = basic.deviceID;
  snapshot.type = device_type(basic.deviceType);
  snapshot.api_version = basic.apiVersion;
  snapshot.driver_version = basic.driverVersion;
  read_extensions(device, snapshot);
  DeviceFeatures& features = snapshot.features;
  features.nv_cooperative_matrix2 = snapshot.has_extension("VK_NV_cooperative_matrix2");
  features.memory_budget = snapshot.has_extension("VK_EXT_memory_budget");
  features.external_memory_host = snapshot.has_extension("VK_EXT_external_memory_host");
  if (snapshot.api_version < VK_API_VERSION_1_1) return snapshot;  // refused by plan_device anyway
  read_properties(device, snapshot);
  read_features(device, snapshot);
  read_matrices(device, instance, snapshot);
  read_memory(device, snapshot);
  read_queues(device, snapshot);
  return snapshot;
}

const char* result_text(VkResult result) {
  switch (result) {
    case VK_SUCCESS:
      return "VK_SUCCESS";
    case VK_NOT_READY:
      return "VK_NOT_READY";
    case VK_TIMEOUT:
      return "VK_TIMEOUT";
    case VK_INCOMPLETE:
      return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
      return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
      return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED:
      return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT:
      return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
      return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS:
      return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_OUT_OF_POOL_MEMORY:
      return "VK_ERROR_OUT_OF_POOL_MEMORY";
    case VK_ERROR_FRAGMENTATION:
      return "VK_ERROR_FRAGMENTATION";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE:
      return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
    case VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS:
      return "VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS";
    case VK_ERROR_UNKNOWN:
      return "VK_ERROR_UNKNOWN";
    default:
      return "an unknown VkResult";
  }
}

}  // namespace kimberlite::vk
