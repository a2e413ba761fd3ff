// choose_device: fit before kind, and what a selector may say.
#include <gmock/gmock.h>

#include "base/numeric.hpp"
#include "plan/devices.hpp"
#include "vk/plan.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::HasSubstr;

std::vector<DeviceSnapshot> devices(std::initializer_list<const char*> names) {
  std::vector<DeviceSnapshot> snapshots;
  for (const char* name : names) snapshots.push_back(load_device(name));
  return snapshots;
}

size_t chosen(const std::vector<DeviceSnapshot>& snapshots, std::string_view selector,
              uint64_t needed_bytes, uint64_t host_bytes = 0) {
  const auto choice = choose_device(snapshots, selector, needed_bytes, host_bytes);
  EXPECT_TRUE(choice.ok()) << (choice.ok() ? "" : choice.error().message);
  return choice.ok() ? choice->index : SIZE_MAX;
}

TEST(Choose, DiscreteBeforeIntegratedBeforeCpu) {
  const auto all = devices({"lavapipe", "radeon_780m_radv", "rtx_4070_laptop"});
  EXPECT_EQ(chosen(all, "", 4 * kGiB), 2u);
  EXPECT_EQ(chosen(devices({"lavapipe", "uhd_620_anv"}), "", 4 * kGiB), 1u);
  EXPECT_EQ(chosen(devices({"lavapipe"}), "", 4 * kGiB), 0u);
}

TEST(Choose, AUnifiedGpuThatFitsBeatsADiscreteOneThatDoesNot) {
  const auto laptop = devices({"rtx_4070_laptop", "radeon_780m_radv"});
  EXPECT_EQ(chosen(laptop, "", 7 * kGiB), 0u);
  EXPECT_EQ(chosen(laptop, "", 12 * kGiB), 1u);  // 8 GiB against 15.6 GiB of all heaps
  EXPECT_EQ(chosen(laptop, "", 20 * kGiB), 0u);  // neither fits: the faster one reads over the bus
}

TEST(Choose, ACpuDeviceNeverBeatsAGpuByFit) {
  EXPECT_EQ(chosen(devices({"lavapipe", "rtx_4070_laptop"}), "", 20 * kGiB, 64 * kGiB), 1u);
}

TEST(Choose, AmongEqualsTheLargerMemory) {
  EXPECT_EQ(chosen(devices({"rtx_4070_laptop", "arc_a770_anv", "h100"}), "", kGiB), 2u);
}

TEST(Choose, UsableBytes) {
  // A CPU driver's 2 GiB heap says nothing about the machine.
  EXPECT_EQ(usable_bytes(load_device("lavapipe"), 64 * kGiB), 64 * kGiB);
  EXPECT_EQ(usable_bytes(load_device("swiftshader"), 0), UINT64_MAX);
  // Unified: both heaps are one memory. Discrete: the window is not added to the card's memory.
  EXPECT_GT(usable_bytes(load_device("radeon_780m_radv"), 0), 15 * kGiB);
  EXPECT_EQ(usable_bytes(load_device("rtx_4070_laptop"), 0), 8188 * kMiB);
}

TEST(Choose, SelectorByIndexNameVendorAndUuid) {
  const auto all = devices({"rtx_4070_laptop", "radeon_780m_radv", "lavapipe"});
  EXPECT_EQ(chosen(all, "2", 0), 2u);
  EXPECT_EQ(chosen(all, "780m", 0), 1u);
  EXPECT_EQ(chosen(all, "4070", 0), 0u);  // no such index, so a part of a name
  EXPECT_EQ(chosen(all, "AMD", 0), 1u);
  EXPECT_EQ(chosen(all, "nvidia", 0), 0u);
  EXPECT_EQ(chosen(all, "LLVMpipe", 0), 2u);
  EXPECT_EQ(chosen(all, all[1].device_uuid, 0), 1u);
  EXPECT_EQ(chosen(all, all[1].device_uuid.substr(0, 8), 0), 1u);
  // As other tools print it.
  EXPECT_EQ(chosen(all, "6D657361-3232-2e33-2e36-000000000000", 0), 2u);
}

TEST(Choose, AWholeNameBeatsAPartOfAnother) {
  auto all = devices({"rtx_4070_laptop", "rtx_4070_laptop"});
  all[1].name = "NVIDIA GeForce RTX 4070";
  EXPECT_EQ(chosen(all, "NVIDIA GeForce RTX 4070", 0), 1u);
}

TEST(Choose, UnknownAndAmbiguousSelectorsListTheDevices) {
  const auto all = devices({"uhd_620_anv", "arc_a770_anv", "h100"});
  const auto unknown = choose_device(all, "voodoo", 0);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(unknown.error().message, HasSubstr("'voodoo' matches no device"));
  EXPECT_THAT(unknown.error().message, HasSubstr("1: Intel(R) Arc(tm) A770 Graphics (DG2)"));
  EXPECT_THAT(unknown.error().message, HasSubstr("2: NVIDIA H100 80GB HBM3 (discrete, NVIDIA"));
  const auto ambiguous = choose_device(all, "intel", 0);
  ASSERT_FALSE(ambiguous.ok());
  EXPECT_THAT(ambiguous.error().message, HasSubstr("matches 2 devices"));
}

TEST(Choose, DevicesBelowTheFloorAreSkippedAndNamedWhenNothingIsLeft) {
  auto all = devices({"h100", "uhd_620_anv"});
  all[0].limits.max_push_bytes = 64;
  EXPECT_EQ(chosen(all, "", 0), 1u);
  all[1].limits.max_shared_bytes = 16384;
  const auto none = choose_device(all, "", 0);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::no_device);
  EXPECT_THAT(none.error().message, HasSubstr("needs 128 bytes of push constants, has 64"));
  EXPECT_THAT(none.error().message, HasSubstr("needs 32768 bytes of shared memory, has 16384"));
}

TEST(Choose, TheRankingNamesWhatItRestsOn) {
  auto all = devices({"lavapipe", "uhd_620_anv", "rtx_4070_laptop", "h100"});
  all[3].limits.max_push_bytes = 64;
  const std::vector<RankedDevice> ranking = rank_devices(all, 10 * kGiB, 64 * kGiB);
  ASSERT_EQ(ranking.size(), 4u);
  // Of the GPUs only the integrated one holds so much; a CPU that does comes behind both.
  EXPECT_EQ(ranking[0].index, 1u);
  EXPECT_EQ(ranking[1].index, 2u);
  EXPECT_EQ(ranking[1].reason, "discrete device, 8.0 GiB of memory, less than the 10.0 GiB wanted");
  EXPECT_EQ(ranking[2].index, 0u);
  EXPECT_EQ(ranking[2].reason, "cpu device, 64.0 GiB of memory, holds the 10.0 GiB wanted");
  EXPECT_EQ(ranking[3].index, 3u);
  EXPECT_FALSE(ranking[3].usable);
  EXPECT_THAT(ranking[3].reason, HasSubstr("needs 128 bytes of push constants, has 64"));
  EXPECT_EQ(chosen(all, "", 10 * kGiB, 64 * kGiB), 1u);
  EXPECT_EQ(rank_devices(all, 0, 64 * kGiB)[0].reason, "discrete device, 8.0 GiB of memory");
}

TEST(Choose, NoDeviceAtAll) {
  const auto none = choose_device({}, "", 0);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::no_device);
}

TEST(Choose, TheReasonNamesDeviceAndMemory) {
  const auto choice = choose_device(devices({"h100"}), "", 10 * kGiB);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(
      choice->reason,
      "NVIDIA H100 80GB HBM3: discrete device, 79.6 GiB of memory, holds the 10.0 GiB wanted");
}

}  // namespace
}  // namespace kimberlite::vk
