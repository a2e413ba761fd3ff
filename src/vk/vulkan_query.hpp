// Reads a DeviceSnapshot from a physical device. Internal to vk.
#pragma once

#include <volk.h>

#include "vk/snapshot.hpp"

namespace kimberlite::vk {

/// Calls only instance-level functions; cannot fail. A driver below Vulkan 1.1 leaves what it
/// cannot answer at zero.
DeviceSnapshot take_snapshot(VkInstance instance, VkPhysicalDevice device);

/// VkResult as its name.
const char* result_text(VkResult result);

}  // namespace kimberlite::vk
