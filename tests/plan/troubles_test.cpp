// known_troubles: which drivers are warned of by name, and which are not.
#include <gmock/gmock.h>
#include <volk.h>

#include "plan/devices.hpp"
#include "vk/plan.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> names(const DeviceSnapshot& snapshot) {
  std::vector<std::string> found;
  for (const DriverTrouble& trouble : known_troubles(snapshot)) {
    EXPECT_FALSE(trouble.text.empty());
    found.emplace_back(trouble.name);
  }
  return found;
}

DeviceSnapshot changed(const char* device, VkDriverId driver, std::string info,
                       std::string name = "") {
  DeviceSnapshot snapshot = load_device(device);
  snapshot.driver_id = driver;
  snapshot.driver_info = std::move(info);
  if (!name.empty()) snapshot.name = std::move(name);
  return snapshot;
}

TEST(Troubles, MostDriversHaveNone) {
  for (const char* device : {"rtx_4070_laptop", "rx_7800_xt_radv", "radeon_780m_radv",
                             "arc_a770_anv", "iris_xe_windows", "h100", "lavapipe", "swiftshader"})
    EXPECT_THAT(names(load_device(device)), IsEmpty()) << device;
}

TEST(Troubles, ByDriver) {
  const auto amd = changed("rx_7800_xt_radv", VK_DRIVER_ID_AMD_PROPRIETARY, "25.20.42.14");
  EXPECT_THAT(names(amd), ElementsAre("AMD's own driver decodes slowly"));
  EXPECT_THAT(std::string(known_troubles(amd)[0].text), HasSubstr("#26663"));
}

TEST(Troubles, ByRelease) {
  const auto intel = [](const char* info) {
    return names(changed("iris_xe_windows", VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS, info));
  };
  const auto lost = ElementsAre("Intel's driver loses the device");
  EXPECT_THAT(intel("Intel driver 101.8424"), IsEmpty());
  EXPECT_THAT(intel("Intel driver 101.8425"), lost);
  EXPECT_THAT(intel("101.8629"), lost);
  EXPECT_THAT(intel("Intel driver 101.8860"), IsEmpty());
  EXPECT_THAT(intel(""), IsEmpty());
  EXPECT_THAT(intel("a driver. 99999999999.5"), IsEmpty());
  EXPECT_THAT(names(changed("arc_a770_anv", VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA, "101.8629")),
              IsEmpty());
}

TEST(Troubles, ByReleaseAndDevice) {
  const auto radv = [](const char* info, const char* name) {
    return names(changed("rx_7800_xt_radv", VK_DRIVER_ID_MESA_RADV, info, name));
  };
  const char* const rdna2 = "AMD Radeon RX 6800 XT (RADV NAVI21)";
  EXPECT_THAT(radv("Mesa 25.0.7-2", rdna2), ElementsAre("RADV of Mesa 25.0 aborts"));
  EXPECT_THAT(radv("Mesa 25.1.0", rdna2), IsEmpty());
  EXPECT_THAT(radv("Mesa 24.3.4", rdna2), IsEmpty());
  EXPECT_THAT(radv("Mesa 25.0.7", "AMD Radeon RX 7800 XT (RADV NAVI32)"), IsEmpty());
}

TEST(Troubles, ByDevice) {
  EXPECT_THAT(names(load_device("uhd_620_anv")),
              ElementsAre("UHD Graphics 620 writes unused tokens"));
  const auto named = [](const char* name) {
    DeviceSnapshot snapshot = load_device("radeon_780m_radv");
    snapshot.name = name;
    return names(snapshot);
  };
  EXPECT_THAT(named("AMD Custom GPU 0405 (RADV VANGOGH)"),
              ElementsAre("Renoir and the Steam Deck answer something else"));
  EXPECT_THAT(named("Radeon 8060S Graphics (RADV GFX1151)"),
              ElementsAre("RDNA 3.5 is slow over 3 and 5 columns"));
  EXPECT_THAT(named("Intel(R) Arc(TM) B580 Graphics"), ElementsAre("Arc B580 writes garbled text"));
}

}  // namespace
}  // namespace kimberlite::vk
