// The pipeline cache: identity, parallel preparation, the file, refusals.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "vk/fixture.hpp"
#include "vk/modules.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::HasSubstr;

PipelineSpec scale_spec(uint32_t width, uint32_t add) {
  return {"scale",
          kScaleWords,
          {BindingKind::storage, BindingKind::storage},
          sizeof(ScalePush),
          /*subgroup_size=*/0,
          {width, add}};
}

class PipelineTest : public VkTest {
 protected:
  std::string file_;

  void SetUp() override {
    VkTest::SetUp();
    if (HasFatalFailure()) return;
    // A file of its own for each driver: their tests run side by side.
    file_ = ::testing::TempDir() + "kimberlite_pipeline_" + device_->snapshot().driver_uuid;
  }
  void TearDown() override {
    std::filesystem::remove(file_);
    VkTest::TearDown();
  }
  std::string contents() const {
    std::ifstream in(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(PipelineTest, TheSameSpecIsTheSamePipeline) {
  PipelineSpec spec = scale_spec(64, 1);
  const Pipeline* first = pipeline(spec);
  spec.name = "another name";
  EXPECT_EQ(pipeline(spec), first);
  EXPECT_NE(pipeline(scale_spec(64, 2)), first);
  EXPECT_EQ(cache_->n_pipelines(), 2u);
  EXPECT_GT(cache_->creation_seconds(), 0.0);
  // The identity is in the words, not in where they lie.
  const std::vector<uint32_t> copy(std::begin(kScaleWords), std::end(kScaleWords));
  PipelineSpec same = scale_spec(64, 1);
  same.words = copy;
  EXPECT_EQ(pipeline(same), first);
}

TEST_F(PipelineTest, PreparesInParallelAndTellsProgressFromThisThread) {
  std::vector<PipelineSpec> specs;
  for (uint32_t add = 0; add < 12; ++add) specs.push_back(scale_spec(64, add % 10));
  const std::thread::id caller = std::this_thread::get_id();
  size_t last = 0;
  const Status done = cache_->prepare(specs, [&](size_t n, size_t total) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(total, 10u);
    EXPECT_GT(n, last);
    last = n;
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(last, 10u);
  EXPECT_EQ(cache_->n_pipelines(), 10u);
  EXPECT_TRUE(cache_->prepare({}).ok());
}

TEST_F(PipelineTest, RefusesByName) {
  const uint32_t too_wide = device_->caps().max_workgroup_size * 2;
  const auto wide = cache_->get(scale_spec(too_wide, 0));
  ASSERT_FALSE(wide.ok());
  EXPECT_THAT(wide.error().message, HasSubstr("pipeline scale: workgroup of"));
  EXPECT_THAT(wide.error().message, HasSubstr("at most"));
  const uint32_t junk[] = {1, 2, 3, 4, 5, 6};
  PipelineSpec spec = scale_spec(64, 0);
  spec.words = junk;
  const auto broken = cache_->get(spec);
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(broken.error().message, HasSubstr("6 words that are no SPIR-V module"));
  const Status prepared = cache_->prepare({scale_spec(64, 0), spec});
  ASSERT_FALSE(prepared.ok());
  EXPECT_EQ(prepared.error().message, broken.error().message);
}

TEST_F(PipelineTest, TheFileMakesTheRoundTrip) {
  auto first = PipelineCache::make(*device_, file_);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE((*first)->get(scale_spec(64, 0)).ok());
  ASSERT_TRUE((*first)->save().ok());
  const std::string saved = contents();
  ASSERT_FALSE(saved.empty());
  auto second = PipelineCache::make(*device_, file_);
  ASSERT_TRUE(second.ok());
  ASSERT_TRUE((*second)->get(scale_spec(64, 0)).ok());
  ASSERT_TRUE((*second)->save().ok());
  EXPECT_EQ(contents().size(), saved.size());
}

TEST_F(PipelineTest, AForeignOrDamagedFileIsIgnoredAndReplaced) {
  for (const char* text :
       {"", "short", "a file that some other program has written, long enough"}) {
    std::ofstream(file_, std::ios::binary) << text;
    auto cache = PipelineCache::make(*device_, file_);
    ASSERT_TRUE(cache.ok());
    ASSERT_TRUE((*cache)->get(scale_spec(64, 0)).ok());
    ASSERT_TRUE((*cache)->save().ok());
    EXPECT_THAT(contents(), HasSubstr(device_->snapshot().driver_uuid));
  }
}

TEST_F(PipelineTest, AWorkgroupNarrowerThanASubgroupRuns) {
  EXPECT_NE(pipeline(scale_spec(1, 0)), nullptr);
}

}  // namespace
}  // namespace kimberlite::vk
