// kimberlite/tools.hpp: looking at the Vulkan devices without opening one.
#include <fmt/format.h>

#include "base/os.hpp"
#include "runtime/api.hpp"
#include "vk/device.hpp"
#include "vk/plan.hpp"

namespace kimberlite {

std::vector<DeviceInfo> describe_devices(std::span<const vk::DeviceSnapshot> snapshots) {
  std::vector<DeviceInfo> devices;
  for (const vk::DeviceSnapshot& snapshot : snapshots) {
    DeviceInfo device;
    device.index = static_cast<uint32_t>(devices.size());
    device.name = snapshot.name;
    device.type = vk::device_type_text(snapshot.type);
    device.driver = fmt::format("{} {}", snapshot.driver_name, snapshot.driver_info);
    device.uuid = snapshot.device_uuid;
    device.memory_bytes = vk::usable_bytes(snapshot, os::physical_memory_bytes());
    const auto plan = vk::plan_device(snapshot);
    device.usable = plan.ok();
    if (!plan.ok()) device.reason = plan.error().message;
    devices.push_back(std::move(device));
  }
  return devices;
}

Result<std::vector<DeviceInfo>> list_devices(std::string_view selector) {
  KL_ASSIGN(const auto instance, vk::Instance::make({}));
  const std::vector<vk::DeviceSnapshot> snapshots = instance->snapshots();
  std::vector<DeviceInfo> devices = describe_devices(snapshots);
  const auto choice = vk::choose_device(snapshots, selector, 0, os::physical_memory_bytes());
  if (choice.ok()) {
    devices[choice->index].chosen = true;
  } else if (devices.empty() || !selector.empty()) {
    // Devices that all fall below the floor are still a list, each with its reason.
    return choice.error();
  }
  return devices;
}

Result<std::string> device_snapshots_json() {
  KL_ASSIGN(const auto instance, vk::Instance::make({}));
  std::string json = "[";
  for (const vk::DeviceSnapshot& snapshot : instance->snapshots()) {
    json += json.size() > 1 ? ",\n" : "\n";
    json += vk::snapshot_to_json(snapshot);
  }
  return json + "\n]";
}

std::vector<std::string> validation_messages(const Model& model) {
  return Access::engine(model).device().instance().validation_messages();
}

}  // namespace kimberlite
