// Dispatches: storage and texel bindings, specialisation, indirect grids, subgroups, timestamps.
#include <algorithm>
#include <numeric>

#include "vk/fixture.hpp"
#include "vk/modules.hpp"

namespace kimberlite::vk {
namespace {

PipelineSpec scale_spec(uint32_t width, uint32_t add) {
  return {"scale",
          kScaleWords,
          {BindingKind::storage, BindingKind::storage},
          sizeof(ScalePush),
          /*subgroup_size=*/0,
          {width, add}};
}

class DispatchTest : public VkTest {
 protected:
  static constexpr uint32_t kN = 1000;

  void SetUp() override {
    VkTest::SetUp();
    if (HasFatalFailure()) return;
    x_ = make_buffer(kN * sizeof(int32_t));
    y_ = make_buffer(kN * sizeof(int32_t));
    std::vector<int32_t> values(kN);
    std::iota(values.begin(), values.end(), -500);
    write(x_, values);
  }
  void TearDown() override {
    sets_.reset();
    x_ = Buffer();
    y_ = Buffer();
    VkTest::TearDown();
  }

  VkDescriptorSet set(const Pipeline& pipeline, const Buffer& x, const Buffer& y) {
    if (!sets_) sets_ = std::make_unique<DescriptorArena>(*device_);
    const BoundRange ranges[] = {{whole(x)}, {whole(y)}};
    auto made = sets_->add(pipeline, ranges);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    return made.ok() ? *made : VK_NULL_HANDLE;
  }

  std::unique_ptr<DescriptorArena> sets_;
  Buffer x_, y_;
};

TEST_F(DispatchTest, ComputesWithPushAndSpecialisationConstants) {
  for (const uint32_t width : {32u, 64u, 96u, 256u}) {
    const Pipeline* scale = pipeline(scale_spec(width, 7));
    ASSERT_NE(scale, nullptr);
    Recorder recorder = begin();
    recorder.bind(*scale, set(*scale, x_, y_));
    const ScalePush push{3, kN};
    recorder.push(*scale, &push, sizeof(push));
    recorder.dispatch((kN + width - 1) / width);
    run(std::move(recorder));
    const auto y = read<int32_t>(y_);
    for (uint32_t i = 0; i < kN; ++i)
      ASSERT_EQ(y[i], 3 * (static_cast<int32_t>(i) - 500) + 7) << "width " << width << " i " << i;
  }
}

TEST_F(DispatchTest, ReplaysOneRecordingWithoutAllocatingOrRecording) {
  const Pipeline* scale = pipeline(scale_spec(64, 0));
  ASSERT_NE(scale, nullptr);
  Recorder recorder = begin();
  recorder.bind(*scale, set(*scale, x_, x_));  // x doubles itself
  const ScalePush push{2, kN};
  recorder.push(*scale, &push, sizeof(push));
  recorder.dispatch((kN + 63) / 64);
  recorder.compute_barrier();
  auto commands = recorder.finish();
  ASSERT_TRUE(commands.ok());
  const Device::Counters before = device_->counters();
  for (int i = 0; i < 5; ++i) run(*commands);
  const Device::Counters after = device_->counters();
  EXPECT_EQ(after.submits, before.submits + 5);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(read<int32_t>(x_)[3], (3 - 500) * 32);
}

TEST_F(DispatchTest, IndirectGridsComeFromMemoryWrittenByAShader) {
  // scale.comp turns {1, 1, 1} into the grid {3, 3, 3}; only x matters to the second dispatch.
  const Buffer ones = make_buffer(3 * sizeof(int32_t));
  const Buffer grid = make_buffer(3 * sizeof(int32_t));
  write(ones, std::vector<int32_t>{1, 1, 1});
  write(y_, std::vector<int32_t>(kN, -1));
  const Pipeline* scale = pipeline(scale_spec(64, 0));
  ASSERT_NE(scale, nullptr);
  Recorder recorder = begin();
  recorder.bind(*scale, set(*scale, ones, grid));
  ScalePush push{3, 3};
  recorder.push(*scale, &push, sizeof(push));
  recorder.dispatch(1);
  recorder.compute_barrier();
  recorder.bind(*scale, set(*scale, x_, y_));
  push = {1, kN};
  recorder.push(*scale, &push, sizeof(push));
  recorder.dispatch_indirect(whole(grid));
  run(std::move(recorder));
  const auto y = read<int32_t>(y_);
  EXPECT_EQ(y[0], -500);
  EXPECT_EQ(y[3 * 64 - 1], 3 * 64 - 1 - 500);
  EXPECT_EQ(y[3 * 64], -1);
}

TEST_F(DispatchTest, TexelViewsSeeExactlyTheirRange) {
  const uint64_t step = std::max<uint64_t>(device_->caps().storage_alignment, 16);
  const Buffer words = make_buffer(step + 64 * 16);
  std::vector<uint32_t> values(words.n_bytes() / 4);
  std::iota(values.begin(), values.end(), 0u);
  write(words, values);
  const PipelineSpec spec{"texel_sum",
                          kTexelSumWords,
                          {BindingKind::uniform_texel, BindingKind::storage},
                          sizeof(uint32_t),
                          /*subgroup_size=*/0,
                          {64}};
  const Pipeline* texel_sum = pipeline(spec);
  ASSERT_NE(texel_sum, nullptr);
  DescriptorArena sets(*device_);
  const BoundRange ranges[] = {{{&words, step, 64 * 16}, BindingKind::uniform_texel}, {whole(y_)}};
  auto bound = sets.add(*texel_sum, ranges);
  ASSERT_TRUE(bound.ok()) << bound.error().message;
  Recorder recorder = begin();
  recorder.bind(*texel_sum, *bound);
  const uint32_t n = 64;
  recorder.push(*texel_sum, &n, sizeof(n));
  recorder.dispatch(1);
  run(std::move(recorder));
  const auto sums = read<uint32_t>(y_);
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t first = static_cast<uint32_t>(step / 4) + 4 * i;
    ASSERT_EQ(sums[i], 4 * first + 6) << i;
  }
}

TEST_F(DispatchTest, DescriptorsRefuseRangesByName) {
  const Pipeline* scale = pipeline(scale_spec(64, 0));
  ASSERT_NE(scale, nullptr);
  DescriptorArena sets(*device_);
  const auto refused = [&](const BoundRange& bad) {
    const BoundRange ranges[] = {{whole(x_)}, bad};
    const auto made = sets.add(*scale, ranges);
    EXPECT_FALSE(made.ok());
    return made.ok() ? std::string() : made.error().message;
  };
  EXPECT_EQ(refused({{&y_, 256, kN * 4}}),
            "binding 1 on buffer test buffer: 4000 bytes at offset 256, the buffer has 4000");
  EXPECT_NE(refused({{&y_, 2, 64}}).find("offset 2 is no multiple of"), std::string::npos);
  EXPECT_NE(refused({{&y_, 0, 0}}).find("0 bytes at offset 0"), std::string::npos);
  EXPECT_NE(refused({{&y_, 0, 40}, BindingKind::uniform_texel}).find("texel's 16"),
            std::string::npos);
  EXPECT_EQ(sets.n_sets(), 0u);
}

TEST_F(DispatchTest, ManySetsGrowThePools) {
  const Pipeline* scale = pipeline(scale_spec(64, 0));
  ASSERT_NE(scale, nullptr);
  for (int i = 0; i < 200; ++i) ASSERT_NE(set(*scale, x_, y_), VK_NULL_HANDLE);
  EXPECT_EQ(sets_->n_sets(), 200u);
}

TEST_F(DispatchTest, SubgroupsAreFullAndOfThePlannedSize) {
  const uint32_t size = device_->caps().subgroup_size;
  const uint32_t width = 4 * size;
  const Pipeline* facts =
      pipeline({"subgroup_facts", kSubgroupFactsWords, {BindingKind::storage}, 0, 0, {width}});
  ASSERT_NE(facts, nullptr);
  const Buffer out = make_buffer(4 * 4 * 2 * sizeof(uint32_t));
  DescriptorArena sets(*device_);
  const BoundRange ranges[] = {{whole(out)}};
  auto bound = sets.add(*facts, ranges);
  ASSERT_TRUE(bound.ok()) << bound.error().message;
  Recorder recorder = begin();
  recorder.bind(*facts, *bound);
  recorder.dispatch(4);
  run(std::move(recorder));
  for (const uint32_t value : read<uint32_t>(out)) EXPECT_EQ(value, size);
}

/// Caps::max_loop_rounds holds: loops that cost no more together run to their ends.
TEST_F(DispatchTest, LoopsRunAsManyRoundsAsTheCapsSay) {
  const uint32_t width = device_->caps().subgroup_size;
  const Pipeline* counter =
      pipeline({"loop_rounds", kLoopRoundsWords, {BindingKind::storage}, 12, 0, {width}});
  ASSERT_NE(counter, nullptr);
  const uint32_t most = std::min(device_->caps().max_loop_rounds, 1u << 20);
  constexpr uint32_t kOuter = 100, kInner = 300;
  // 100 loops of 300 rounds, one of 100, one of what is left: each costs a round more.
  const LoopRoundsPush push{kOuter, kInner, most - kOuter * (kInner + 1) - (kOuter + 1) - 1};
  const Buffer out = make_buffer(uint64_t{2} * width * sizeof(uint32_t));
  write(out, std::vector<uint32_t>(2 * width, 0));
  DescriptorArena sets(*device_);
  const BoundRange ranges[] = {{whole(out)}};
  auto bound = sets.add(*counter, ranges);
  ASSERT_TRUE(bound.ok()) << bound.error().message;
  Recorder recorder = begin();
  recorder.bind(*counter, *bound);
  recorder.push(*counter, &push, sizeof(push));
  recorder.dispatch(1);
  run(std::move(recorder));
  const auto rounds = read<uint32_t>(out);
  for (uint32_t lane = 0; lane < width; ++lane) {
    EXPECT_EQ(rounds[2 * lane], kOuter * kInner) << lane;
    EXPECT_EQ(rounds[2 * lane + 1], push.n_after) << lane;
  }
}

TEST_F(DispatchTest, TimestampsDoNotRunBackwards) {
  const Pipeline* scale = pipeline(scale_spec(64, 0));
  ASSERT_NE(scale, nullptr);
  Recorder recorder = begin(3);
  recorder.begin_label("timed");
  recorder.bind(*scale, set(*scale, x_, y_));
  const ScalePush push{1, kN};
  recorder.push(*scale, &push, sizeof(push));
  recorder.timestamp(0);
  recorder.dispatch(16);
  recorder.timestamp(1);
  recorder.compute_barrier();
  recorder.dispatch(16);
  recorder.timestamp(2);
  recorder.end_label();
  auto commands = recorder.finish();
  ASSERT_TRUE(commands.ok());
  run(*commands);
  const auto times = commands->read_timestamps(*device_);
  ASSERT_TRUE(times.ok()) << times.error().message;
  ASSERT_EQ(times->size(), 3u);
  EXPECT_EQ((*times)[0], 0.0);
  EXPECT_GE((*times)[1], (*times)[0]);
  EXPECT_GE((*times)[2], (*times)[1]);
  EXPECT_LT((*times)[2], 60e9);  // nanoseconds, not ticks of another unit
}

TEST_F(DispatchTest, FillAndCopy) {
  const Buffer from = make_buffer(1024);
  const Buffer to = make_buffer(1024);
  Recorder recorder = begin();
  recorder.fill(whole(from), 0x01020304);
  recorder.fill(whole(to), 0);
  recorder.barrier(Access::transfer, Access::transfer);
  recorder.copy(whole(from), whole(to), 256, 0, 512);
  run(std::move(recorder));
  const auto words = read<uint32_t>(to);
  EXPECT_EQ(words[127], 0u);
  EXPECT_EQ(words[128], 0x01020304u);
  EXPECT_EQ(words[191], 0x01020304u);
  EXPECT_EQ(words[192], 0u);
}

}  // namespace
}  // namespace kimberlite::vk
