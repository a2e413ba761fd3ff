// Caches that come in segments: the same bits as a cache that is there from the start, whenever it
// grows, and a session that goes on where it could not.
#include <gmock/gmock.h>

#include <algorithm>

#include "model_fixture.hpp"
#include "runtime/session.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

using runtime::Generated;
using runtime::GenerateRequest;
using runtime::Session;
using ::testing::HasSubstr;

runtime::EngineOptions in_segments(uint32_t segment_rows, bool precise) {
  runtime::EngineOptions options;
  options.kv_segment_rows = segment_rows;
  options.precise = precise;
  return options;
}

std::vector<int32_t> long_prompt(int32_t n) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < n; ++i) prompt.push_back(5 + i * 7 % 500);
  return prompt;
}

/// `n` tokens without a limit that would commit the cache up front.
Generated unlimited(Session& session, size_t n) {
  size_t n_emitted = 0;
  return require_value(session.generate(greedy(0), [&](int32_t) { return ++n_emitted < n; }));
}

class GrowthTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    golden_ = new Golden(require_value(Golden::load("tiny12")));
    whole_ = new TinyModel("tiny12", golden_->seed, formats::GgmlType::f32, in_segments(0, true));
    grown_ = new TinyModel("tiny12", golden_->seed, formats::GgmlType::f32, in_segments(64, true));
  }
  static void TearDownTestSuite() {
    delete grown_;
    delete whole_;
    delete golden_;
  }
  static std::unique_ptr<Session> make(TinyModel& model, uint32_t context = 512) {
    return require_value(Session::make(model.engine(), context, std::nullopt));
  }
  static vk::Device& device() { return grown_->engine().device(); }

  static inline Golden* golden_ = nullptr;
  static inline TinyModel* whole_ = nullptr;
  static inline TinyModel* grown_ = nullptr;
};

TEST_F(GrowthTest, LogitsAreThoseOfTheOfficialImplementation) {
  DecoderRun run(*grown_, kernels::KvType::f32);
  for (size_t position = 0; position < golden_->tokens.size(); ++position) {
    const auto logits = run.columns({golden_->tokens[position]}, static_cast<uint32_t>(position));
    const auto expected = golden_->logits().row(position);
    for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], expected[i], 1e-3) << i;
  }
}

TEST_F(GrowthTest, ItGrowsBetweenTokensAndRecordsNothing) {
  const auto session = make(*grown_);
  require_value(session->sync(golden_->tokens, {}));
  require_value(session->generate(greedy(1), {}));  // records the step
  require_value(session->sync(golden_->tokens, {}));
  const auto before = device().counters();
  const Generated out = unlimited(*session, golden_->greedy.size());
  EXPECT_EQ(out.tokens, golden_->greedy);
  const auto after = device().counters();
  const size_t n_computed = golden_->tokens.size() + golden_->greedy.size() - 1;
  EXPECT_EQ(after.growths - before.growths,
            (n_computed + 63) / 64 - (golden_->tokens.size() + 63) / 64);
  EXPECT_GE(after.growths - before.growths, 1u);
  EXPECT_GE(after.allocations - before.allocations, after.growths - before.growths);
  EXPECT_EQ(after.records, before.records);
}

TEST_F(GrowthTest, ARequestCommitsWhatItMayNeedFirst) {
  const auto session = make(*grown_);
  const auto start = device().counters();
  require_value(session->sync(std::vector<int32_t>(64, 5), {}));
  EXPECT_EQ(device().counters().growths - start.growths, 1u);
  uint64_t at_first_token = 0;
  require_value(session->generate(greedy(129), [&](int32_t) {
    if (at_first_token == 0) at_first_token = device().counters().growths;
    return true;
  }));
  EXPECT_EQ(at_first_token - start.growths, 3u);  // positions up to 64 + 128
  EXPECT_EQ(device().counters().growths, at_first_token);
}

/// Passes of a prefill over several segments, then growth while tokens are generated, then a longer
/// prompt over the same cache; f32 and f16 values.
TEST_F(GrowthTest, TokensAndLogitsHaveTheSameBits) {
  const std::vector<int32_t> prompt = long_prompt(300);
  const auto whole = make(*whole_, 1000);
  const auto grown = make(*grown_, 1000);
  std::vector<int32_t> tokens = prompt;
  for (const uint32_t n : {150u, 200u}) {
    require_value(whole->sync(tokens, {}));
    require_value(grown->sync(tokens, {}));
    const Generated expected = require_value(whole->generate(greedy(n), {}));
    EXPECT_EQ(unlimited(*grown, n).tokens, expected.tokens);
    tokens = whole->tokens();
    const std::vector<int32_t> more = long_prompt(77);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  std::vector<float> expected, logits;
  const auto collect = [](std::vector<float>& all) {
    return [&all](uint32_t, std::span<const float> row) {
      all.insert(all.end(), row.begin(), row.end());
    };
  };
  require_ok(whole->evaluate(std::span(tokens).first(140), collect(expected)));
  require_ok(grown->evaluate(std::span(tokens).first(140), collect(logits)));
  EXPECT_TRUE(expected == logits);
}

/// The default arithmetic and cache type, a context that is no multiple of a segment.
TEST_F(GrowthTest, TheDefaultClassGrowsToo) {
  TinyModel whole("tiny31", 43, formats::GgmlType::q4_0, in_segments(0, false));
  TinyModel grown("tiny31", 43, formats::GgmlType::q4_0, in_segments(128, false));
  const std::vector<int32_t> prompt = long_prompt(120);
  const auto a = make(whole, 210), b = make(grown, 210);
  require_value(a->sync(prompt, {}));
  require_value(b->sync(prompt, {}));
  const Generated expected = require_value(a->generate(greedy(0), {}));
  EXPECT_EQ(expected.reason, StopReason::context_full);
  const Generated out = require_value(b->generate(greedy(0), {}));
  EXPECT_EQ(out.tokens, expected.tokens);
  EXPECT_EQ(out.reason, StopReason::context_full);
  EXPECT_EQ(b->kv_bytes() / 4096, a->kv_bytes() / 4096);  // beside the tables, no more than planned
}

TEST_F(GrowthTest, ASessionThatCannotGrowSaysSoAndGoesOn) {
  const auto session = make(*grown_, 1000);
  const std::vector<int32_t> prompt = long_prompt(100);
  require_value(session->sync(prompt, {}));
  const uint64_t held = device().counters().allocated_bytes;
  device().limit_memory(held + 1000);

  const auto wide = session->sync(long_prompt(200), {});
  ASSERT_EQ(wide.error().code, ErrorCode::out_of_memory);
  for (const char* part :
       {"room for 128 positions, 200 are needed", "the next 64 take ", "1000 free"}) {
    EXPECT_THAT(wide.error().message, HasSubstr(part));
  }
  EXPECT_EQ(session->tokens(), prompt);
  const auto limited = session->generate(greedy(100), {});
  ASSERT_EQ(limited.error().code, ErrorCode::out_of_memory);
  EXPECT_THAT(limited.error().message, HasSubstr("199 are needed"));

  std::vector<int32_t> streamed;
  const auto stopped = session->generate(greedy(0), [&](int32_t token) {
    streamed.push_back(token);
    return true;
  });
  ASSERT_EQ(stopped.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(streamed.size(), 29u);  // 128 positions are computed: 100 and all tokens but the last
  EXPECT_EQ(device().counters().allocated_bytes, held);

  device().limit_memory(UINT64_MAX);
  const std::vector<int32_t> rest = require_value(session->generate(greedy(20), {})).tokens;
  streamed.insert(streamed.end(), rest.begin(), rest.end());
  const auto fresh = make(*whole_, 1000);
  require_value(fresh->sync(prompt, {}));
  EXPECT_EQ(streamed, require_value(fresh->generate(greedy(49), {})).tokens);
}

TEST(SegmentRows, AreForGpus) {
  vk::Caps caps;
  EXPECT_EQ(runtime::pick_segment_rows(caps), 4096u);
  caps.is_cpu = true;
  EXPECT_EQ(runtime::pick_segment_rows(caps), 0u);
}

/// Without segments a layer must fit one binding.
TEST(ContextLimit, IsTheModelsWithSegments) {
  vk::Caps caps;
  caps.max_storage_range_bytes = 128ull << 20;
  using enum model::LayerKind;
  const model::ModelConfig config = config_of({full, full}, 512, 262144);
  const auto type = kernels::KvType::f16;
  EXPECT_EQ(runtime::kv_context_limit(config, type, caps, 0), 65536u);
  EXPECT_EQ(runtime::kv_context_limit(config, type, caps, 4096), 262144u);
}

}  // namespace
}  // namespace kimberlite::testing
