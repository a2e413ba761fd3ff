// plan_device on every recorded and composed device, and the Vulkan floor.
#include "vk/plan.hpp"

#include <gmock/gmock.h>
#include <volk.h>

#include <functional>

#include "base/numeric.hpp"
#include "plan/devices.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

DevicePlan plan_of(const DeviceSnapshot& snapshot, const PlanOptions& options = {}) {
  auto plan = plan_device(snapshot, options);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  return plan.ok() ? *plan : DevicePlan{};
}

const std::vector<uint32_t>& types(const DevicePlan& plan, MemoryKind kind) {
  return plan.memory_types[static_cast<size_t>(kind)];
}

struct Expected {
  const char* device;
  uint32_t subgroup_size;
  uint32_t queue_family;
  WideLoad wide_load;
  bool is_cpu;
  bool unified_memory;
  bool has_int8_dot;
  uint32_t storage_alignment;
  uint32_t n_compute_units;
};

TEST(Plan, OnlyLlvmpipeCountsTheRoundsOfLoops) {
  EXPECT_EQ(plan_of(load_device("lavapipe")).caps.max_loop_rounds, 65535u);
  EXPECT_EQ(plan_of(load_device("swiftshader")).caps.max_loop_rounds, UINT32_MAX);
  EXPECT_EQ(plan_of(load_device("h100")).caps.max_loop_rounds, UINT32_MAX);
}

TEST(Plan, CapsOfEveryDevice) {
  constexpr WideLoad kStorage = WideLoad::storage;
  const Expected table[] = {
      {"rtx_4070_laptop", 32, 2, kStorage, false, false, true, 16, 36},
      {"rx_7800_xt_radv", 32, 1, kStorage, false, false, true, 16, 60},
      {"radeon_780m_radv", 32, 1, kStorage, false, true, true, 16, 12},
      {"arc_a770_anv", 16, 0, kStorage, false, false, true, 16, 32},
      {"uhd_620_anv", 16, 0, kStorage, false, true, false, 16, 8},
      {"iris_xe_windows", 16, 0, kStorage, false, true, true, 64, 8},
      {"arc_140v_anv", 16, 0, kStorage, false, true, true, 16, 8},
      {"h100", 32, 2, kStorage, false, false, true, 16, 132},
      {"lavapipe", 8, 0, WideLoad::texel, true, true, false, 16, 2},
      {"swiftshader", 4, 0, kStorage, true, true, false, 256, 2},
  };
  for (const Expected& expected : table) {
    const DevicePlan plan = plan_of(load_device(expected.device));
    const Caps& caps = plan.caps;
    EXPECT_EQ(caps.subgroup_size, expected.subgroup_size) << expected.device;
    EXPECT_EQ(plan.queue_family, expected.queue_family) << expected.device;
    EXPECT_EQ(caps.wide_load, expected.wide_load) << expected.device;
    EXPECT_EQ(caps.is_cpu, expected.is_cpu) << expected.device;
    EXPECT_EQ(caps.unified_memory, expected.unified_memory) << expected.device;
    EXPECT_EQ(caps.has_int8_dot, expected.has_int8_dot) << expected.device;
    EXPECT_EQ(caps.storage_alignment, expected.storage_alignment) << expected.device;
    EXPECT_EQ(caps.n_compute_units, expected.n_compute_units) << expected.device;
    EXPECT_EQ(caps.max_arena_bytes, 966367641u) << expected.device;
    EXPECT_TRUE(plan.require_subgroup_size) << expected.device;
    EXPECT_TRUE(plan.full_subgroups) << expected.device;
  }
}

TEST(Plan, RegistersOfALane) {
  const auto caps_of = [](const char* name) { return plan_of(load_device(name)).caps; };
  EXPECT_EQ(caps_of("uhd_620_anv").register_words, 64u);    // 128 of 32 bytes for 16 lanes
  EXPECT_EQ(caps_of("arc_140v_anv").register_words, 128u);  // of 64 bytes since Xe2
  EXPECT_EQ(caps_of("vega10_radv").register_words, 256u);
  EXPECT_EQ(caps_of("uhd_620_anv").min_subgroup_size, 8u);
  EXPECT_EQ(caps_of("arc_140v_anv").min_subgroup_size, 16u);
  EXPECT_EQ(caps_of("vega10_radv").min_subgroup_size, 64u);  // none can be asked for
  const DeviceSnapshot uhd = load_device("uhd_620_anv");
  EXPECT_EQ(plan_of(uhd, {.subgroup_size = 8}).caps.register_words, 128u);
}

TEST(Plan, WideBindingsSpanAtMostWhatTheDeviceAllows) {
  EXPECT_EQ(plan_of(load_device("lavapipe")).caps.max_wide_bytes(), 966367641u);
  EXPECT_EQ(plan_of(load_device("lavapipe"), {.force_storage_loads = true}).caps.max_wide_bytes(),
            128 * kMiB);
  EXPECT_EQ(plan_of(load_device("h100")).caps.max_wide_bytes(), 966367641u);
}

TEST(Plan, TexelLoadsNeedViewsThatReach) {
  DeviceSnapshot lavapipe = load_device("lavapipe");
  lavapipe.limits.max_texel_elements = 65536;
  EXPECT_EQ(plan_of(lavapipe).caps.wide_load, WideLoad::storage);
}

TEST(Plan, MemoryTypesOfADiscreteCardWithASmallWindow) {
  const DevicePlan plan = plan_of(load_device("rtx_4070_laptop"));
  // Device-local, then the 246 MiB window; never host memory, which would be silently slow.
  EXPECT_THAT(types(plan, MemoryKind::device), ElementsAre(1, 4));
  EXPECT_THAT(types(plan, MemoryKind::upload), ElementsAre(2, 3, 4));
  EXPECT_THAT(types(plan, MemoryKind::readback), ElementsAre(3, 2, 4));
  EXPECT_THAT(types(plan, MemoryKind::host_weights), ElementsAre(2, 3, 4));
}

TEST(Plan, MemoryTypesThatBypassTheCachesAreLeftAlone) {
  const DevicePlan plan = plan_of(load_device("rx_7800_xt_radv"));
  for (size_t kind = 0; kind < kMemoryKinds; ++kind)
    for (const uint32_t type : plan.memory_types[kind]) EXPECT_LT(type, 7u);
  EXPECT_THAT(types(plan, MemoryKind::device), ElementsAre(0, 1, 3, 4));
}

TEST(Plan, UnifiedMemoryPrefersMappedAndFallsBackToEveryHeap) {
  const DevicePlan radeon = plan_of(load_device("radeon_780m_radv"));
  EXPECT_THAT(types(radeon, MemoryKind::device), ElementsAre(3, 4, 0, 1, 5, 6, 2));
  const DevicePlan iris = plan_of(load_device("iris_xe_windows"));
  EXPECT_THAT(types(iris, MemoryKind::device), ElementsAre(2, 1, 0));
  EXPECT_THAT(types(iris, MemoryKind::readback), ElementsAre(2, 1));
  EXPECT_THAT(types(plan_of(load_device("lavapipe")), MemoryKind::device), ElementsAre(0));
}

TEST(Plan, EnablesOnlyWhatTheDeviceHas) {
  const DevicePlan swiftshader = plan_of(load_device("swiftshader"));
  EXPECT_FALSE(swiftshader.features.float16);
  EXPECT_FALSE(swiftshader.features.storage_16bit);
  EXPECT_THAT(swiftshader.extensions, ElementsAre("VK_EXT_external_memory_host"));
  EXPECT_THAT(plan_of(load_device("h100")).extensions,
              UnorderedElementsAre("VK_KHR_cooperative_matrix", "VK_EXT_memory_budget",
                                   "VK_EXT_external_memory_host"));
}

TEST(Plan, MatricesAreTheLargestThatFitPanelsAndBlocks) {
  DeviceSnapshot device = load_device("h100");
  device.int8_matrices = {{16, 8, 32},  {16, 16, 32}, {8, 8, 32},
                          {16, 16, 64}, {48, 16, 32}, {16, 48, 32}};
  const DevicePlan plan = plan_of(device);
  EXPECT_EQ(plan.caps.int8_matrix.m, 16u);
  EXPECT_EQ(plan.caps.int8_matrix.n, 16u);
  EXPECT_EQ(plan.caps.int8_matrix.k, 32u);
  device.int8_matrices = {{16, 16, 64}};
  EXPECT_FALSE(plan_of(device).features.cooperative_matrix);
  device = load_device("h100");
  device.subgroup.full_subgroups = false;
  EXPECT_EQ(plan_of(device).caps.int8_matrix.m, 0u);
}

TEST(Plan, PortableOnlyLeavesNothingOptional) {
  const DevicePlan plan = plan_of(load_device("h100"), {.portable_only = true});
  EXPECT_FALSE(plan.caps.has_float16);
  EXPECT_FALSE(plan.caps.has_int8_dot);
  EXPECT_EQ(plan.caps.int8_matrix.m, 0u);
  EXPECT_FALSE(plan.features.storage_8bit);
  EXPECT_TRUE(plan.features.timeline_semaphore);
  EXPECT_TRUE(plan.extensions.empty());
}

TEST(Plan, AskedSubgroupSizeIsTakenOrRefused) {
  const DeviceSnapshot arc = load_device("arc_a770_anv");
  EXPECT_EQ(plan_of(arc, {.subgroup_size = 8}).caps.subgroup_size, 8u);
  EXPECT_EQ(plan_of(arc, {.subgroup_size = 32}).caps.subgroup_size, 32u);
  const auto refused = plan_device(arc, {.subgroup_size = 64});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("subgroup size 64 was asked for, has 8 to 32"));
}

TEST(Plan, WithoutSizeControlTheOnlySizeIsUsed) {
  DeviceSnapshot device = load_device("h100");
  device.subgroup.required_stages = 0;
  const DevicePlan plan = plan_of(device);
  EXPECT_FALSE(plan.require_subgroup_size);
  EXPECT_EQ(plan.caps.subgroup_size, 32u);
}

TEST(Plan, ArenasAreBoundedByTheDeviceAndTheOption) {
  DeviceSnapshot device = load_device("h100");
  device.limits.max_allocation_bytes = 512 * kMiB;
  EXPECT_EQ(plan_of(device).caps.max_arena_bytes, 512 * kMiB);
  EXPECT_EQ(plan_of(device, {.max_arena_bytes = 4096}).caps.max_arena_bytes, 4096u);
}

struct Refusal {
  std::function<void(DeviceSnapshot&)> spoil;
  const char* message;
};

TEST(Plan, RefusesWhatIsBelowTheFloorByNameWithBothValues) {
  const Refusal table[] = {
      {[](DeviceSnapshot& d) { d.api_version = VK_MAKE_API_VERSION(0, 1, 2, 131); },
       "needs Vulkan 1.3, has 1.2.131"},
      {[](DeviceSnapshot& d) { d.limits.max_shared_bytes = 16384; },
       "needs 32768 bytes of shared memory, has 16384"},
      {[](DeviceSnapshot& d) { d.limits.max_workgroup_invocations = 128; },
       "needs 256 invocations in a workgroup, has 128"},
      {[](DeviceSnapshot& d) { d.limits.max_push_bytes = 64; },
       "needs 128 bytes of push constants, has 64"},
      {[](DeviceSnapshot& d) { d.limits.max_grid[1] = 1024; },
       "needs 65535 workgroups in each axis of a grid, has 1024"},
      {[](DeviceSnapshot& d) { d.features.timeline_semaphore = false; },
       "needs the feature timelineSemaphore"},
      {[](DeviceSnapshot& d) { d.features.buffer_device_address = false; },
       "needs the feature bufferDeviceAddress"},
      {[](DeviceSnapshot& d) {
         d.subgroup.operations &= ~uint32_t{VK_SUBGROUP_FEATURE_SHUFFLE_BIT};
       },
       "needs subgroup shuffle operations, has 0x1ef"},
      {[](DeviceSnapshot& d) { d.subgroup.stages = 0; }, "subgroup operations in compute shaders"},
      {[](DeviceSnapshot& d) { d.subgroup.size = d.subgroup.min_size = d.subgroup.max_size = 128; },
       "needs a subgroup size of 4, 8, 16, 32 or 64, has 128"},
      {[](DeviceSnapshot& d) {
         d.subgroup.min_size = 8;
         d.subgroup.size_control = false;
       },
       "needs a fixed subgroup size, has 8 to 32"},
      {[](DeviceSnapshot& d) {
         d.queue_families = {{1, true, false, true, 64}};
       },
       "needs a queue family with compute, has none among 1"},
      {[](DeviceSnapshot& d) {
         for (MemoryTypeFacts& type : d.memory_types) type.host_coherent = false;
       },
       "needs memory for upload buffers, has none among 5 types"},
  };
  for (const Refusal& refusal : table) {
    DeviceSnapshot device = load_device("h100");
    refusal.spoil(device);
    const auto plan = plan_device(device);
    ASSERT_FALSE(plan.ok()) << refusal.message;
    EXPECT_EQ(plan.error().code, ErrorCode::unsupported);
    EXPECT_THAT(plan.error().message, HasSubstr("NVIDIA H100 80GB HBM3: "));
    EXPECT_THAT(plan.error().message, HasSubstr(refusal.message));
  }
}

}  // namespace
}  // namespace kimberlite::vk
