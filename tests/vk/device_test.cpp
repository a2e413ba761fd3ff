// The instance and the device: loss, counters, no driver, and that validation sees a planted error.
#include <gmock/gmock.h>

#include <cstdlib>

#include "vk/fixture.hpp"
#include "vk/modules.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::HasSubstr;

class DeviceTest : public VkTest {};

TEST_F(DeviceTest, TheLiveSnapshotSurvivesJson) {
  const std::string json = snapshot_to_json(device_->snapshot());
  const auto again = snapshot_from_json(json);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(snapshot_to_json(*again), json);
}

TEST_F(DeviceTest, TimelineValuesRise) {
  Recorder recorder = begin();
  auto commands = recorder.finish();
  ASSERT_TRUE(commands.ok());
  const VkCommandBuffer buffer = commands->get();
  EXPECT_EQ(device_->last_submitted(), 0u);
  EXPECT_TRUE(device_->reached(0));
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const auto value = device_->submit({&buffer, 1});
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_GT(*value, last);
    last = *value;
    ASSERT_TRUE(device_->wait(last).ok());
    EXPECT_TRUE(device_->reached(last));
  }
  EXPECT_EQ(device_->last_submitted(), last);
  EXPECT_EQ(device_->counters().submits, 3u);
  ASSERT_TRUE(device_->wait(1).ok());  // the past is reached
}

TEST_F(DeviceTest, ALostDeviceFailsEverySubmitAndWaitAndCanBeRebuilt) {
  Recorder recorder = begin();
  auto commands = recorder.finish();
  ASSERT_TRUE(commands.ok());
  const VkCommandBuffer buffer = commands->get();
  const auto value = device_->submit({&buffer, 1});
  ASSERT_TRUE(value.ok());
  device_->simulate_loss();
  const Status waited = device_->wait(*value);
  ASSERT_FALSE(waited.ok());
  EXPECT_EQ(waited.error().code, ErrorCode::device_lost);
  EXPECT_THAT(waited.error().message, HasSubstr(device_->snapshot().name));
  const auto submitted = device_->submit({&buffer, 1});
  ASSERT_FALSE(submitted.ok());
  EXPECT_EQ(submitted.error().code, ErrorCode::device_lost);
  const Status run = device_->run(buffer);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code, ErrorCode::device_lost);

  *commands = CommandBuffer();
  cache_.reset();
  const DevicePlan plan = device_->plan();
  device_.reset();
  auto again = Device::make(*instance_, 0, plan);
  ASSERT_TRUE(again.ok()) << again.error().message;
  device_ = std::move(again).value();
  Buffer memory = make_buffer(64);
  write(memory, std::vector<uint32_t>(16, 5));
  EXPECT_EQ(read<uint32_t>(memory)[15], 5u);
}

TEST_F(DeviceTest, NoOptionalFeatureIsNeeded) {
  const auto plan = plan_device(device_->snapshot(), {.portable_only = true});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const auto portable = Device::make(*instance_, 0, *plan);
  EXPECT_TRUE(portable.ok()) << (portable.ok() ? "" : portable.error().message);
}

TEST_F(DeviceTest, ValidationReportsAMissingBarrier) {
  if (!validated_) GTEST_SKIP() << "the validation layer is not installed";
  expects_messages_ = true;
  const PipelineSpec spec{"scale",
                          kScaleWords,
                          {BindingKind::storage, BindingKind::storage},
                          sizeof(ScalePush),
                          /*subgroup_size=*/0,
                          {64, 0}};
  const Pipeline* scale = pipeline(spec);
  ASSERT_NE(scale, nullptr);
  const Buffer a = make_buffer(256), b = make_buffer(256), c = make_buffer(256);
  write(a, std::vector<int32_t>(64, 1));
  DescriptorArena sets(*device_);
  const auto bind = [&](Recorder& recorder, const Buffer& x, const Buffer& y) {
    const BoundRange ranges[] = {{whole(x)}, {whole(y)}};
    auto set = sets.add(*scale, ranges);
    ASSERT_TRUE(set.ok()) << set.error().message;
    recorder.bind(*scale, *set);
    const ScalePush push{2, 64};
    recorder.push(*scale, &push, sizeof(push));
    recorder.dispatch(1);
  };
  for (const bool with_barrier : {true, false}) {
    Recorder recorder = begin();
    bind(recorder, a, b);
    if (with_barrier) recorder.compute_barrier();
    bind(recorder, b, c);  // reads what the first dispatch writes
    run(std::move(recorder));
    const auto messages = instance_->validation_messages();
    if (with_barrier) {
      EXPECT_TRUE(messages.empty()) << messages.front();
    } else {
      ASSERT_FALSE(messages.empty());
      EXPECT_THAT(messages.front(), HasSubstr("SYNC-HAZARD-READ-AFTER-WRITE"));
    }
  }
}

/// Leaves the loader of this process without a driver.
void hide_drivers() {
#ifdef _WIN32
  _putenv_s("VK_ICD_FILENAMES", "C:\\nonexistent");
  _putenv_s("VK_DRIVER_FILES", "C:\\nonexistent");
#else
  ::setenv("VK_ICD_FILENAMES", "/nonexistent", 1);
  ::setenv("VK_DRIVER_FILES", "/nonexistent", 1);
#endif
}

/// The error of making an instance where no driver is, or exit code 2 if there is none.
[[noreturn]] void exit_with_instance_error() {
  hide_drivers();
  const auto made = Instance::make({});
  if (made.ok()) {
    const auto choice = choose_device((*made)->snapshots(), "", 0);
    std::fprintf(stderr, "%s\n", choice.ok() ? "found one" : choice.error().message.c_str());
    std::exit(!choice.ok() && choice.error().code == ErrorCode::no_device ? 0 : 2);
  }
  std::fprintf(stderr, "%s\n", made.error().message.c_str());
  std::exit(made.error().code == ErrorCode::no_device ? 0 : 2);
}

TEST(InstanceDeathTest, WithoutADriverTheErrorSaysSo) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";  // a process of its own
  EXPECT_EXIT(exit_with_instance_error(), ::testing::ExitedWithCode(0), "no .*Vulkan");
}

}  // namespace
}  // namespace kimberlite::vk
