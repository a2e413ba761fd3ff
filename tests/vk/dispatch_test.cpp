// Dispatches: storage and texel bindings, specialisation, indirect grids, subgroups, timestamps.
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

}  // namespace
}  // namespace kimberlite::vk
