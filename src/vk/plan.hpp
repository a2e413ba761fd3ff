// Policy, pure: a device snapshot becomes a plan (queue, features, memory types, Caps), a list of
// snapshots becomes a choice. Nothing here calls Vulkan, so every GPU is testable from a recording.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "vk/caps.hpp"
#include "vk/snapshot.hpp"

namespace kimberlite::vk {

/// Where a buffer's memory lives.
enum class MemoryKind : uint8_t {
  device,        // device-local; mapped as well where memory is unified
  upload,        // host-visible, host-coherent: the host writes, the device reads
  readback,      // host-visible, host-coherent, cached where possible: the host reads
  host_weights,  // host-visible memory that kernels read over the bus: what does not fit the GPU
};
inline constexpr size_t kMemoryKinds = 4;

const char* memory_kind_text(MemoryKind kind);

struct PlanOptions {
  uint32_t subgroup_size = 0;    // 0 = pick; else that size or an error (tests, measurements)
  uint64_t max_arena_bytes = 0;  // 0 = pick; else a smaller bound than the device's (tests)
  bool portable_only = false;    // behave as if no optional feature existed (tests of the floor)
  bool force_storage_loads = false;  // WideLoad::storage everywhere (measurements)
  bool pipeline_statistics = false;  // of compilers, where the driver tells (tools/driver-lab)
};

struct DevicePlan {
  std::string device_name;
  uint32_t queue_family = 0;
  DeviceFeatures features;              // the ones to enable
  std::vector<std::string> extensions;  // to enable
  bool require_subgroup_size = false;   // ask for Caps::subgroup_size when a pipeline is made
  bool full_subgroups = false;          // ask for full subgroups where the local size allows it
  bool pipeline_statistics = false;     // read_statistics() works on pipelines
  /// Memory types for each kind, best first; the rest are fall-backs for when a heap is full.
  std::array<std::vector<uint32_t>, kMemoryKinds> memory_types;
  Caps caps;
};

/// Errors: unsupported, naming the device, what is needed and what it has.
Result<DevicePlan> plan_device(const DeviceSnapshot& snapshot, const PlanOptions& options = {});

struct DeviceChoice {
  size_t index = 0;    // into the snapshots
  std::string reason;  // one line for the user
};

/// What others have met with a driver or device: a warning, never a reason to refuse it.
struct DriverTrouble {
  std::string_view name;
  std::string_view text;  // what happens, and where that is written
};

/// In the order of the table in vendors.cpp.
std::vector<DriverTrouble> known_troubles(const DeviceSnapshot& snapshot);

/// Bytes that weights and caches may use on this device: its largest device-local heap, all heaps
/// where memory is unified, and on a CPU device, whose heap report says nothing, `host_bytes`
/// (physical memory; 0 = unknown counts as unlimited).
uint64_t usable_bytes(const DeviceSnapshot& snapshot, uint64_t host_bytes);

struct RankedDevice {
  size_t index = 0;  // into the snapshots
  bool usable = false;
  std::string reason;  // what its rank rests on, or why it cannot run Kimberlite
};

/// All devices, the one that choose_device takes without a selector first, unusable ones last.
std::vector<RankedDevice> rank_devices(std::span<const DeviceSnapshot> snapshots,
                                       uint64_t needed_bytes, uint64_t host_bytes = 0);

/// Picks a device. `selector`: "" (best one), an index, a UUID or its start (8 digits or more), a
/// vendor ("amd", "intel", "nvidia", ...) or a part of the name, case-insensitive.
/// Without a selector: GPUs that hold `needed_bytes` come first, then discrete > integrated >
/// virtual > cpu, then the larger memory, then the lower index. A CPU device never beats a GPU by
/// fit: a GPU that reads part of the weights over the bus leaves the CPU free. A device below the
/// Vulkan floor is never picked by itself. Errors: no_device, invalid_argument (listing the
/// devices).
Result<DeviceChoice> choose_device(std::span<const DeviceSnapshot> snapshots,
                                   std::string_view selector, uint64_t needed_bytes,
                                   uint64_t host_bytes = 0);

}  // namespace kimberlite::vk
