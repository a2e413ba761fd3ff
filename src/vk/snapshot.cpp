#include "vk/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kimberlite::vk {

bool DeviceSnapshot::has_extension(const std::string& extension) const {
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

std::string api_version_text(uint32_t api_version) {
  return fmt::format("{}.{}.{}", (api_version >> 22) & 0x7fu, (api_version >> 12) & 0x3ffu,
                     api_version & 0xfffu);
}

const char* device_type_text(DeviceType type) {
  switch (type) {
    case DeviceType::integrated:
      return "integrated";
    case DeviceType::discrete:
      return "discrete";
    case DeviceType::virtual_gpu:
      return "virtual";
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::other:
      return "other";
  }
  return "other";
}

}  // namespace kimberlite::vk
