#include "runtime/open_device.hpp"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "base/os.hpp"
#include "vk/plan.hpp"

namespace kimberlite::runtime {
namespace {

/// Nothing where the caller wants no files, or where there is no place for them: what is cached is
/// made anew at the next start.
std::optional<std::string> find_cache_dir(const std::string& cache_dir) {
  if (cache_dir == "none") return std::nullopt;
  if (!cache_dir.empty()) return cache_dir;
  auto found = os::cache_dir();
  return found.ok() ? std::optional(std::move(found).value()) : std::nullopt;
}

}  // namespace

Result<OpenDevice> open_device(const DeviceRequest& request) {
  OpenDevice open;
  KL_ASSIGN(open.instance, vk::Instance::make({.validation = request.validation}));
  const std::vector<vk::DeviceSnapshot> snapshots = open.instance->snapshots();
  const uint64_t host_bytes = os::physical_memory_bytes();
  KL_ASSIGN(const vk::DeviceChoice choice,
            vk::choose_device(snapshots, request.selector, request.needed_bytes, host_bytes));
  const vk::DeviceSnapshot& snapshot = snapshots[choice.index];
  KL_ASSIGN(const vk::DevicePlan plan, vk::plan_device(snapshot, request.plan));
  KL_ASSIGN(open.device, vk::Device::make(*open.instance, choice.index, plan));
  open.index = choice.index;
  open.reason = choice.reason;
  open.needed_bytes = request.needed_bytes;
  open.usable_bytes = vk::usable_bytes(snapshot, host_bytes);
  std::string pipeline_file;
  if (const auto folder = find_cache_dir(request.cache_dir)) {
    pipeline_file = fmt::format("{}/pipelines-{}.bin", *folder, snapshot.device_uuid);
    open.tuning_file = fmt::format("{}/tuning-{}.json", *folder, snapshot.device_uuid);
    open.probe_file = fmt::format("{}/probe-{}.json", *folder, snapshot.device_uuid);
  }
  KL_ASSIGN(open.pipelines, vk::PipelineCache::make(*open.device, pipeline_file));
  return open;
}

}  // namespace kimberlite::runtime
