// A device for the tests of vk: the first one of the driver that the environment names, with the
// validation layer on where it is installed. Every test ends with no validation message.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "vk/descriptors.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"
#include "vk/pipeline.hpp"
#include "vk/recorder.hpp"

namespace kimberlite::vk {

class VkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Instance::make({.validation = true});
    validated_ = made.ok();
    if (!made.ok() && made.error().code == ErrorCode::unsupported) made = Instance::make({});
    ASSERT_TRUE(made.ok()) << made.error().message;
    instance_ = std::move(made).value();
    const auto snapshots = instance_->snapshots();
    ASSERT_FALSE(snapshots.empty());
    auto plan = plan_device(snapshots[0], options_);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    if (discrete_) plan->caps.unified_memory = false;
    auto device = Device::make(*instance_, 0, *plan);
    ASSERT_TRUE(device.ok()) << device.error().message;
    device_ = std::move(device).value();
    auto cache = PipelineCache::make(*device_, "");
    ASSERT_TRUE(cache.ok()) << cache.error().message;
    cache_ = std::move(cache).value();
  }

  void TearDown() override {
    cache_.reset();
    device_.reset();
    if (instance_ && !expects_messages_) {
      for (const std::string& message : instance_->validation_messages()) ADD_FAILURE() << message;
    }
    instance_.reset();
  }

  Buffer make_buffer(uint64_t n_bytes, MemoryKind kind = MemoryKind::device) {
    auto buffer = Buffer::make(*device_, n_bytes, kind, "test buffer");
    EXPECT_TRUE(buffer.ok()) << (buffer.ok() ? "" : buffer.error().message);
    return buffer.ok() ? std::move(buffer).value() : Buffer();
  }

  static BufferRange whole(const Buffer& buffer) { return {&buffer, 0, buffer.n_bytes()}; }

  template <typename T>
  void write(const Buffer& buffer, const std::vector<T>& values) {
    const Status written =
        write_range(*device_, whole(buffer), values.data(), values.size() * sizeof(T));
    ASSERT_TRUE(written.ok()) << written.error().message;
  }

  template <typename T>
  std::vector<T> read(const Buffer& buffer) {
    std::vector<T> values(buffer.n_bytes() / sizeof(T));
    const Status done =
        read_range(*device_, whole(buffer), values.data(), values.size() * sizeof(T));
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    return values;
  }

  const Pipeline* pipeline(const PipelineSpec& spec) {
    auto made = cache_->get(spec);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    return made.ok() ? *made : nullptr;
  }

  /// Finishes, submits and waits.
  void run(Recorder&& recorder) {
    auto commands = recorder.finish();
    ASSERT_TRUE(commands.ok()) << commands.error().message;
    run(*commands);
  }
  void run(const CommandBuffer& commands) {
    const Status status = device_->run(commands.get());
    ASSERT_TRUE(status.ok()) << status.error().message;
  }

  Recorder begin(uint32_t n_timestamps = 0) {
    auto recorder = Recorder::begin(*device_, "test", n_timestamps);
    EXPECT_TRUE(recorder.ok()) << (recorder.ok() ? "" : recorder.error().message);
    return std::move(recorder).value();
  }

  PlanOptions options_;    // set before SetUp, in a derived constructor
  bool discrete_ = false;  // likewise: device memory is not mapped, as on a discrete card
  bool expects_messages_ = false;
  bool validated_ = false;
  std::unique_ptr<Instance> instance_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<PipelineCache> cache_;
};

}  // namespace kimberlite::vk
