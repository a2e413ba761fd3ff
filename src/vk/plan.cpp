// plan_device: the Vulkan floor, then queue, features, memory types and Caps.
#include "vk/plan.hpp"

#include <fmt/format.h>
#include <volk.h>

#include <algorithm>
#include <bit>

#include "base/numeric.hpp"
#include "vk/vendors.hpp"

namespace kimberlite::vk {
namespace {

constexpr uint64_t kMaxArenaBytes = 966367641;  // 0.9 GiB: SwiftShader refuses 1.0
constexpr uint64_t kMinArenaBytes = 128 * kMiB;
constexpr const char* kPipelineStatisticsExtension = "VK_KHR_pipeline_executable_properties";

struct SubgroupOperation {
  uint32_t bit;
  const char* name;
};
constexpr SubgroupOperation kSubgroupOperations[] = {
    {VK_SUBGROUP_FEATURE_BASIC_BIT, "basic"},           {VK_SUBGROUP_FEATURE_VOTE_BIT, "vote"},
    {VK_SUBGROUP_FEATURE_ARITHMETIC_BIT, "arithmetic"}, {VK_SUBGROUP_FEATURE_BALLOT_BIT, "ballot"},
    {VK_SUBGROUP_FEATURE_SHUFFLE_BIT, "shuffle"},
};

Error below_floor(const DeviceSnapshot& device, const std::string& what) {
  return {ErrorCode::unsupported, fmt::format("{}: needs {}", device.name, what)};
}

Status check_at_least(const DeviceSnapshot& device, uint64_t has, uint64_t needs,
                      const char* what) {
  if (has >= needs) return {};
  return below_floor(device, fmt::format("{} {}, has {}", needs, what, has));
}

Status check_limits(const DeviceSnapshot& device) {
  if (device.api_version < VK_API_VERSION_1_3) {
    return below_floor(device,
                       fmt::format("Vulkan 1.3, has {}", api_version_text(device.api_version)));
  }
  const DeviceLimits& limits = device.limits;
  KL_TRY(check_at_least(device, limits.max_shared_bytes, 32768, "bytes of shared memory"));
  KL_TRY(
      check_at_least(device, limits.max_workgroup_invocations, 256, "invocations in a workgroup"));
  KL_TRY(check_at_least(device, limits.max_workgroup_size[0], 256,
                        "invocations in a workgroup's first axis"));
  KL_TRY(check_at_least(device, limits.max_push_bytes, 128, "bytes of push constants"));
  KL_TRY(check_at_least(device, limits.max_allocation_bytes, kMinArenaBytes,
                        "bytes in one allocation"));
  KL_TRY(check_at_least(device, *std::min_element(limits.max_grid, limits.max_grid + 3), 65535,
                        "workgroups in each axis of a grid"));
  return {};
}

Status check_features(const DeviceSnapshot& device) {
  const std::pair<bool, const char*> needed[] = {
      {device.features.timeline_semaphore, "timelineSemaphore"},
      {device.features.synchronization2, "synchronization2"},
      {device.features.maintenance4, "maintenance4"},
      {device.features.host_query_reset, "hostQueryReset"},
      {device.features.buffer_device_address, "bufferDeviceAddress"},
  };
  for (const auto& [has, name] : needed) {
    if (!has) return below_floor(device, fmt::format("the feature {}, has it not", name));
  }
  return {};
}

Status check_subgroups(const DeviceSnapshot& device) {
  const SubgroupFacts& subgroup = device.subgroup;
  if ((subgroup.stages & VK_SHADER_STAGE_COMPUTE_BIT) == 0) {
    return below_floor(
        device, fmt::format("subgroup operations in compute shaders, has them in stages {:#x}",
                            subgroup.stages));
  }
  for (const SubgroupOperation& operation : kSubgroupOperations) {
    if ((subgroup.operations & operation.bit) == 0) {
      return below_floor(device,
                         fmt::format("subgroup {} operations, has {:#x} (VkSubgroupFeatureFlags)",
                                     operation.name, subgroup.operations));
    }
  }
  return {};
}

bool is_possible_size(const SubgroupFacts& subgroup, uint32_t size) {
  return size >= subgroup.min_size && size <= subgroup.max_size && std::has_single_bit(size);
}

/// Sets Caps::subgroup_size, require_subgroup_size and full_subgroups.
Status pick_subgroup_size(const DeviceSnapshot& device, const PlanOptions& options,
                          DevicePlan& plan) {
  const SubgroupFacts& subgroup = device.subgroup;
  plan.full_subgroups = subgroup.full_subgroups;
  plan.require_subgroup_size =
      subgroup.size_control && (subgroup.required_stages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
  uint32_t size = subgroup.size;
  if (plan.require_subgroup_size) {
    const auto preferred = preferred_subgroup_sizes(device);
    const auto found = std::find_if(preferred.begin(), preferred.end(), [&](uint32_t wanted) {
      return is_possible_size(subgroup, wanted);
    });
    if (found != preferred.end()) size = *found;
  } else if (subgroup.min_size != subgroup.max_size) {
    // From SPIR-V 1.6 on the driver may choose any size in the range unless one is required.
    return below_floor(device,
                       fmt::format("a fixed subgroup size, has {} to {} and none can be required",
                                   subgroup.min_size, subgroup.max_size));
  }
  if (options.subgroup_size != 0 && options.subgroup_size != size) {
    if (!plan.require_subgroup_size || !is_possible_size(subgroup, options.subgroup_size)) {
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: subgroup size {} was asked for, has {} to {}", device.name,
                               options.subgroup_size, subgroup.min_size, subgroup.max_size)};
    }
    size = options.subgroup_size;
  }
  if (size < 4 || size > 64 || !std::has_single_bit(size)) {
    return below_floor(device, fmt::format("a subgroup size of 4, 8, 16, 32 or 64, has {}", size));
  }
  plan.caps.subgroup_size = size;
  plan.caps.min_subgroup_size =
      plan.require_subgroup_size ? std::clamp(subgroup.min_size, 4u, size) : size;
  return {};
}

/// A family without graphics first: the compositor submits to the graphics family, and a long
/// prefill there would hold up the desktop behind it.
Status pick_queue_family(const DeviceSnapshot& device, DevicePlan& plan) {
  constexpr uint32_t kNone = UINT32_MAX;
  uint32_t best = kNone;
  for (uint32_t i = 0; i < device.queue_families.size(); ++i) {
    const QueueFamilyFacts& family = device.queue_families[i];
    if (!family.compute || family.n_queues == 0) continue;
    if (best == kNone || (device.queue_families[best].graphics && !family.graphics)) best = i;
  }
  if (best == kNone) {
    return below_floor(device, fmt::format("a queue family with compute, has none among {}",
                                           device.queue_families.size()));
  }
  plan.queue_family = best;
  return {};
}

/// The shape that takes most elements at a time and of which panels of 64 rows and blocks of 32
/// elements are whole numbers.
void pick_matrix(const DeviceSnapshot& device, DevicePlan& plan) {
  DeviceFeatures& features = plan.features;
  const bool usable = features.cooperative_matrix && features.vulkan_memory_model &&
                      features.int8 && plan.full_subgroups;
  Caps& caps = plan.caps;
  caps.int8_matrix = {};
  const auto n_products = [](const MatrixShape& s) { return uint64_t{s.m} * s.n * s.k; };
  for (const MatrixShape& shape : device.int8_matrices) {
    const bool fits = shape.m >= 8 && 64 % shape.m == 0 && shape.n >= 8 && 32 % shape.n == 0 &&
                      shape.k >= 8 && 32 % shape.k == 0;
    if (!usable || !fits || n_products(shape) <= n_products(caps.int8_matrix)) continue;
    caps.int8_matrix = shape;
  }
  features.cooperative_matrix = caps.int8_matrix.m != 0;
  caps.matrix_subgroup_size = matrix_subgroup_size(device, caps);
  // 64 rows of as many columns as lanes: 64 accumulators a lane.
  const uint32_t n = std::max(1u, caps.int8_matrix.n);
  caps.matrix_columns = caps.matrix_subgroup_size / n * n;
}

void pick_features(const DeviceSnapshot& device, const PlanOptions& options, DevicePlan& plan) {
  plan.features = device.features;
  if (options.portable_only) {
    DeviceFeatures floor;
    floor.timeline_semaphore = floor.synchronization2 = true;
    floor.maintenance4 = floor.host_query_reset = floor.buffer_device_address = true;
    plan.features = floor;
  }
  // Listed for the report on a device; no variant uses them, so they are not enabled.
  plan.features.nv_cooperative_matrix2 = false;
  plan.features.descriptor_indexing = false;
  pick_matrix(device, plan);
  if (plan.features.cooperative_matrix) {
    plan.extensions.emplace_back("VK_KHR_cooperative_matrix");
  }
  if (plan.features.memory_budget) plan.extensions.emplace_back("VK_EXT_memory_budget");
  if (plan.features.external_memory_host)
    plan.extensions.emplace_back("VK_EXT_external_memory_host");
  if (options.pipeline_statistics && device.has_extension(kPipelineStatisticsExtension)) {
    plan.pipeline_statistics = true;
    plan.extensions.emplace_back(kPipelineStatisticsExtension);
  }
}

bool has_unified_memory(const DeviceSnapshot& device) {
  if (device.type != DeviceType::integrated && device.type != DeviceType::cpu) return false;
  return std::any_of(
      device.memory_types.begin(), device.memory_types.end(), [](const MemoryTypeFacts& type) {
        return !type.special && type.device_local && type.host_visible && type.host_coherent;
      });
}

/// How well a memory type suits a kind; negative = not at all.
int memory_score(const MemoryTypeFacts& type, MemoryKind kind, bool unified) {
  const bool mappable = type.host_visible && type.host_coherent;
  if (type.special) return -1;
  switch (kind) {
    case MemoryKind::device:
      // Unified: mapped, so that weights are written in place; any heap will do, it is one memory.
      if (unified)
        return (type.device_local ? 4 : 0) + (mappable ? 2 : 0) + (type.host_cached ? 1 : 0);
      // Discrete: never a silent fall-back to host memory, which is 20 times slower. The mappable
      // window of a card without resizable BAR is small and wanted by others: last.
      return type.device_local ? (type.host_visible ? 1 : 2) : -1;
    case MemoryKind::upload:
    case MemoryKind::host_weights:
      if (!mappable) return -1;
      if (unified && kind == MemoryKind::host_weights)
        return memory_score(type, MemoryKind::device, true);
      // Uncached memory is written and read by the device without snooping the CPU's caches.
      return (type.device_local ? 0 : 2) + (type.host_cached ? 0 : 1);
    case MemoryKind::readback:
      if (!mappable) return -1;
      return (type.host_cached ? 2 : 0) + (type.device_local ? 0 : 1);
  }
  return -1;
}

Status pick_memory_types(const DeviceSnapshot& device, DevicePlan& plan) {
  for (size_t k = 0; k < kMemoryKinds; ++k) {
    const auto kind = static_cast<MemoryKind>(k);
    const auto score = [&](uint32_t i) {
      return memory_score(device.memory_types[i], kind, plan.caps.unified_memory);
    };
    std::vector<uint32_t>& types = plan.memory_types[k];
    for (uint32_t i = 0; i < device.memory_types.size(); ++i)
      if (score(i) >= 0) types.push_back(i);
    // Stable, and by heap size among equals: drivers list the best type first.
    std::stable_sort(types.begin(), types.end(), [&](uint32_t a, uint32_t b) {
      if (score(a) != score(b)) return score(a) > score(b);
      return device.heaps[device.memory_types[a].heap].n_bytes >
             device.heaps[device.memory_types[b].heap].n_bytes;
    });
    if (types.empty()) {
      return below_floor(device, fmt::format("memory for {} buffers, has none among {} types",
                                             memory_kind_text(kind), device.memory_types.size()));
    }
  }
  return {};
}

void fill_caps(const DeviceSnapshot& device, const PlanOptions& options, DevicePlan& plan) {
  const DeviceLimits& limits = device.limits;
  Caps& caps = plan.caps;
  caps.is_cpu = device.type == DeviceType::cpu;
  caps.unified_memory = has_unified_memory(device);
  caps.max_workgroup_size =
      std::min(limits.max_workgroup_invocations, limits.max_workgroup_size[0]);
  caps.register_words = register_words(device, caps.subgroup_size);
  caps.max_shared_bytes = limits.max_shared_bytes;
  caps.max_grid_x = limits.max_grid[0];
  caps.max_loop_rounds = max_loop_rounds(device);
  caps.max_storage_range_bytes = limits.max_storage_range_bytes;
  caps.max_texel_elements = limits.max_texel_elements;
  caps.max_arena_bytes = std::min(kMaxArenaBytes, limits.max_allocation_bytes);
  if (limits.max_buffer_bytes != 0)
    caps.max_arena_bytes = std::min(caps.max_arena_bytes, limits.max_buffer_bytes);
  if (options.max_arena_bytes != 0)
    caps.max_arena_bytes = std::min(caps.max_arena_bytes, options.max_arena_bytes);
  // 16: everything is indexed in units of 16 bytes somewhere.
  caps.storage_alignment = std::max({limits.storage_alignment, limits.texel_alignment, 16u});
  const bool texel_reaches = limits.max_texel_elements * 16 >= kMinArenaBytes;
  if (prefers_texel_loads(device) && texel_reaches && !options.force_storage_loads)
    caps.wide_load = WideLoad::texel;
  caps.has_float16 = plan.features.float16;
  caps.has_int8_dot = plan.features.integer_dot && plan.features.dot_4x8_signed_accelerated;
  caps.n_compute_units =
      limits.n_compute_units != 0 ? limits.n_compute_units : estimated_compute_units(device);
}

}  // namespace

const char* memory_kind_text(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::device:
      return "device";
    case MemoryKind::upload:
      return "upload";
    case MemoryKind::readback:
      return "readback";
    case MemoryKind::host_weights:
      return "host weights";
  }
  return "unknown";
}

Result<DevicePlan> plan_device(const DeviceSnapshot& snapshot, const PlanOptions& options) {
  DevicePlan plan;
  plan.device_name = snapshot.name;
  KL_TRY(check_limits(snapshot));
  KL_TRY(check_features(snapshot));
  KL_TRY(check_subgroups(snapshot));
  KL_TRY(pick_subgroup_size(snapshot, options, plan));
  KL_TRY(pick_queue_family(snapshot, plan));
  pick_features(snapshot, options, plan);
  fill_caps(snapshot, options, plan);
  KL_TRY(pick_memory_types(snapshot, plan));
  return plan;
}

}  // namespace kimberlite::vk
