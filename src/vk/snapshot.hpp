// DeviceSnapshot: everything that policy needs to know about one GPU and its driver, as a plain
// value. Taken from a physical device by vk/instance, or read from JSON in tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/matrix_shape.hpp"

namespace kimberlite::vk {

enum class DeviceType : uint8_t { other, integrated, discrete, virtual_gpu, cpu };

struct DeviceLimits {
  uint64_t max_storage_range_bytes = 0;  // maxStorageBufferRange
  uint64_t max_texel_elements = 0;       // maxTexelBufferElements
  uint64_t max_allocation_bytes = 0;     // maxMemoryAllocationSize
  uint64_t max_buffer_bytes = 0;         // maxBufferSize
  uint32_t max_allocations = 0;          // maxMemoryAllocationCount
  uint32_t max_push_bytes = 0;
  uint32_t max_shared_bytes = 0;
  uint32_t max_workgroup_invocations = 0;
  uint32_t max_workgroup_size[3] = {};  // per axis, in invocations
  uint32_t max_grid[3] = {};            // per axis, in workgroups
  uint32_t storage_alignment = 0;       // minStorageBufferOffsetAlignment
  uint32_t texel_alignment = 0;         // minTexelBufferOffsetAlignment
  uint32_t host_pointer_alignment = 0;  // minImportedHostPointerAlignment; 0 without the extension
  float timestamp_period_ns = 0;
  uint32_t n_compute_units = 0;  // by a vendor's extension, threads on a CPU device; 0 = unknown
};

struct SubgroupFacts {
  uint32_t size = 0;      // subgroupSize: what a pipeline gets without asking
  uint32_t min_size = 0;  // of a size asked for
  uint32_t max_size = 0;
  uint32_t operations = 0;       // VkSubgroupFeatureFlags
  uint32_t stages = 0;           // VkShaderStageFlags with the operations
  uint32_t required_stages = 0;  // VkShaderStageFlags where a size may be asked for
  bool size_control = false;     // feature subgroupSizeControl
  bool full_subgroups = false;   // feature computeFullSubgroups
};

/// Optional and mandatory features, true where the driver reports them.
struct DeviceFeatures {
  bool timeline_semaphore = false;
  bool synchronization2 = false;
  bool maintenance4 = false;
  bool host_query_reset = false;
  bool buffer_device_address = false;
  bool descriptor_indexing = false;
  bool vulkan_memory_model = false;
  bool float16 = false;        // shaderFloat16
  bool int8 = false;           // shaderInt8
  bool int16 = false;          // shaderInt16
  bool int64 = false;          // shaderInt64
  bool storage_8bit = false;   // storageBuffer8BitAccess
  bool storage_16bit = false;  // storageBuffer16BitAccess
  bool subgroup_extended_types = false;
  bool integer_dot = false;                 // shaderIntegerDotProduct
  bool dot_4x8_signed_accelerated = false;  // packed 4x8 bit, both operands signed
  bool dot_4x8_mixed_accelerated = false;   // packed 4x8 bit, mixed signedness
  bool cooperative_matrix = false;          // cooperativeMatrix
  bool nv_cooperative_matrix2 = false;      // VK_NV_cooperative_matrix2 is listed
  bool memory_budget = false;               // VK_EXT_memory_budget is listed
  bool external_memory_host = false;        // VK_EXT_external_memory_host is listed
};

struct HeapFacts {
  uint64_t n_bytes = 0;
  bool device_local = false;
};

struct MemoryTypeFacts {
  uint32_t heap = 0;
  bool device_local = false;
  bool host_visible = false;
  bool host_coherent = false;
  bool host_cached = false;
  bool special = false;  // protected, lazily allocated or device-uncached: never ours
};

struct QueueFamilyFacts {
  uint32_t n_queues = 0;
  bool graphics = false;
  bool compute = false;
  bool transfer = false;
  uint32_t timestamp_bits = 0;
};

struct DeviceSnapshot {
  std::string name;
  uint32_t vendor_id = 0;
  uint32_t device_id = 0;
  DeviceType type = DeviceType::other;
  uint32_t api_version = 0;     // VK_MAKE_API_VERSION of the device
  uint32_t driver_id = 0;       // VkDriverId
  uint32_t driver_version = 0;  // vendor's own packing
  std::string driver_name;
  std::string driver_info;
  std::string device_uuid;          // 32 hex digits
  std::string driver_uuid;          // 32 hex digits
  std::string pipeline_cache_uuid;  // 32 hex digits
  DeviceLimits limits;
  SubgroupFacts subgroup;
  DeviceFeatures features;
  std::vector<MatrixShape> int8_matrices;  // without saturation
  std::vector<HeapFacts> heaps;
  std::vector<MemoryTypeFacts> memory_types;
  std::vector<QueueFamilyFacts> queue_families;
  std::vector<std::string> extensions;  // sorted

  [[nodiscard]] bool has_extension(const std::string& extension) const;
};

/// Indented JSON with every field; the inverse of snapshot_from_json.
std::string snapshot_to_json(const DeviceSnapshot& snapshot);

/// Unknown fields are ignored, missing ones are an error. Errors: bad_file, naming the field.
Result<DeviceSnapshot> snapshot_from_json(const std::string& text);

/// "1.3.230" from a packed API version.
std::string api_version_text(uint32_t api_version);

/// "discrete", "integrated", "virtual", "cpu", "other".
const char* device_type_text(DeviceType type);

}  // namespace kimberlite::vk
