// The recorded and composed device snapshots of tests/plan/devices.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "vk/snapshot.hpp"

namespace kimberlite::vk {

inline constexpr const char* kDeviceNames[] = {"rtx_4070_laptop",
                                               "rx_7800_xt_radv",
                                               "radeon_780m_radv",
                                               "arc_a770_anv",
                                               "uhd_620_anv",
                                               "iris_xe_windows",
                                               "arc_140v_anv",
                                               "vega10_radv",
                                               "h100",
                                               "lavapipe",
                                               "swiftshader"};

inline std::string device_json(const std::string& name) {
  std::ifstream file(std::string(KIMBERLITE_SOURCE_DIR) + "/tests/plan/devices/" + name + ".json");
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline DeviceSnapshot load_device(const std::string& name) {
  auto snapshot = snapshot_from_json(device_json(name));
  EXPECT_TRUE(snapshot.ok()) << (snapshot.ok() ? "" : snapshot.error().message);
  return snapshot.ok() ? *snapshot : DeviceSnapshot{};
}

}  // namespace kimberlite::vk
