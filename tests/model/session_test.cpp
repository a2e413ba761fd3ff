// Sessions: prefill, generation, prefix reuse, limits, on tiny models.
#include "runtime/session.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "model_fixture.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

using runtime::Generated;
using runtime::GenerateRequest;
using runtime::Session;

class SessionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    golden_ = new Golden(require_value(Golden::load("tiny12")));
    model_ = new TinyModel("tiny12", golden_->seed, formats::GgmlType::f32, precise());
  }
  static void TearDownTestSuite() {
    delete model_;
    delete golden_;
  }
  static std::unique_ptr<Session> make(uint32_t context = 512) {
    return require_value(Session::make(model_->engine(), context, std::nullopt));
  }
  static inline Golden* golden_ = nullptr;
  static inline TinyModel* model_ = nullptr;
};

TEST_F(SessionTest, GreedyTokensAreThoseOfTheOfficialImplementation) {
  const auto session = make();
  const auto counts = require_value(session->sync(golden_->tokens, {}));
  EXPECT_EQ(counts.reused, 0u);
  EXPECT_EQ(counts.recomputed, golden_->tokens.size() - 1);
  std::vector<int32_t> streamed;
  const Generated out = require_value(
      session->generate(greedy(static_cast<uint32_t>(golden_->greedy.size())), [&](int32_t token) {
        streamed.push_back(token);
        return true;
      }));
  EXPECT_EQ(out.tokens, golden_->greedy);
  EXPECT_EQ(streamed, golden_->greedy);
  EXPECT_EQ(out.reason, StopReason::max_tokens);
}

TEST_F(SessionTest, TheTokenLoopRecordsAndAllocatesNothing) {
  const auto session = make();
  const auto start = model_->engine().device().counters();
  require_value(session->sync(golden_->tokens, {}));
  require_value(session->generate(greedy(1), {}));  // records the step
  const auto before = model_->engine().device().counters();
  EXPECT_GE(before.records - start.records, 2u);  // a prefill pass and the step
  require_value(session->generate(greedy(20), {}));
  const auto after = model_->engine().device().counters();
  EXPECT_EQ(after.records - before.records, 0u);
  EXPECT_EQ(after.allocations - before.allocations, 0u);
  // One for each token; the request itself may need uploads on devices without mapped memory.
  EXPECT_GE(after.submits - before.submits, 20u);
  EXPECT_LE(after.submits - before.submits, 20u + 3u);
}

TEST_F(SessionTest, ContinuingEqualsStartingOver) {
  const auto session = make();
  require_value(session->sync(golden_->tokens, {}));
  const Generated first = require_value(session->generate(greedy(24), {}));
  // What the session stands for now is prompt and output: nothing but the pending token is new.
  std::vector<int32_t> history = golden_->tokens;
  history.insert(history.end(), first.tokens.begin(), first.tokens.end());
  EXPECT_EQ(session->tokens(), history);
  const auto counts = require_value(session->sync(history, {}));
  EXPECT_EQ(counts.reused, history.size() - 1);
  EXPECT_EQ(counts.recomputed, 0u);
  const Generated second = require_value(session->generate(greedy(40), {}));
  std::vector<int32_t> all = first.tokens;
  all.insert(all.end(), second.tokens.begin(), second.tokens.end());
  EXPECT_EQ(all, golden_->greedy);
}

TEST_F(SessionTest, ARewoundSessionGivesTheSameTokens) {
  const auto session = make();
  require_value(session->sync(golden_->tokens, {}));
  require_value(session->generate(greedy(30), {}));
  const auto counts = require_value(session->sync(golden_->tokens, {}));
  EXPECT_EQ(counts.reused, golden_->tokens.size() - 1);
  EXPECT_EQ(require_value(session->generate(greedy(64), {})).tokens, golden_->greedy);

  // Another history from position 10 on, then back again.
  std::vector<int32_t> other(golden_->tokens.begin(), golden_->tokens.begin() + 10);
  other.insert(other.end(), {7, 8, 9});
  EXPECT_EQ(require_value(session->sync(other, {})).reused, 10u);
  EXPECT_EQ(require_value(session->sync(golden_->tokens, {})).reused, 10u);
  EXPECT_EQ(require_value(session->generate(greedy(64), {})).tokens, golden_->greedy);
}

TEST_F(SessionTest, ASnapshotServesWhereTheRingHasForgotten) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 300; ++i) prompt.push_back(5 + i * 7 % 500);
  const auto session = make(1024);
  require_value(session->sync(prompt, {}));
  const auto first = require_value(session->generate(greedy(500), {}));
  // 799 positions were written, a ring holds 384: position 299 needs keys that are gone.
  auto counts = require_value(session->sync(prompt, {}));
  EXPECT_EQ(counts.reused, 299u);
  EXPECT_EQ(require_value(session->generate(greedy(200), {})).tokens,
            std::vector<int32_t>(first.tokens.begin(), first.tokens.begin() + 200));

  // Cut below the snapshot, and the ring has forgotten that place too: nothing may be reused.
  std::vector<int32_t> other(prompt.begin(), prompt.begin() + 100);
  counts = require_value(session->sync(other, {}));
  EXPECT_EQ(counts.reused, 0u);
  const auto again = require_value(session->generate(greedy(20), {}));
  const auto fresh = make(1024);
  require_value(fresh->sync(other, {}));
  EXPECT_EQ(again.tokens, require_value(fresh->generate(greedy(20), {})).tokens);
}

TEST_F(SessionTest, SampledTokensDependOnTheSeedAlone) {
  const auto sample = [&](uint64_t seed) {
    const auto session = make();
    require_value(session->sync(golden_->tokens, {}));
    GenerateRequest request;
    request.sampling.seed = seed;
    request.max_tokens = 20;
    return require_value(session->generate(request, {})).tokens;
  };
  const auto one = sample(1);
  EXPECT_EQ(one, sample(1));
  EXPECT_NE(one, sample(2));
}

TEST_F(SessionTest, StopsWhereItShould) {
  const auto session = make(64);
  require_value(session->sync(golden_->tokens, {}));
  GenerateRequest request = greedy(0);
  request.stop_ids = {golden_->greedy[4]};
  const auto first = std::find(golden_->greedy.begin(), golden_->greedy.end(), golden_->greedy[4]);
  Generated out = require_value(session->generate(request, {}));
  EXPECT_EQ(out.reason, StopReason::stop_id);
  EXPECT_EQ(out.tokens.size(), static_cast<size_t>(first - golden_->greedy.begin()) + 1);

  require_value(session->sync(golden_->tokens, {}));
  out = require_value(session->generate(greedy(0), {}));
  EXPECT_EQ(out.reason, StopReason::context_full);
  EXPECT_EQ(session->tokens().size(), 64u);
  const auto full = session->generate(greedy(1), {});
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::context_full);
  EXPECT_NE(full.error().message.find("64"), std::string::npos);

  require_value(session->sync(golden_->tokens, {}));
  out = require_value(session->generate(greedy(0), [n = 0](int32_t) mutable { return ++n < 3; }));
  EXPECT_EQ(out.reason, StopReason::callback);
  EXPECT_EQ(out.tokens.size(), 3u);

  require_value(session->sync(golden_->tokens, {}));
  out = require_value(session->generate(greedy(0), [&](int32_t) {
    session->cancel();
    return true;
  }));
  EXPECT_EQ(out.reason, StopReason::cancelled);
  EXPECT_EQ(out.tokens.size(), 1u);
}

TEST_F(SessionTest, RefusesWhatCannotBe) {
  const auto session = make(64);
  EXPECT_EQ(session->sync({}, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(session->generate(greedy(1), {}).error().code, ErrorCode::invalid_argument);
  const std::vector<int32_t> long_prompt(65, 5);
  const auto too_long = session->sync(long_prompt, {});
  EXPECT_EQ(too_long.error().code, ErrorCode::context_full);
  EXPECT_NE(too_long.error().message.find("65"), std::string::npos);
  EXPECT_NE(too_long.error().message.find("64"), std::string::npos);
  for (const int32_t bad : {-1, 517, INT32_MAX}) {
    const std::vector<int32_t> tokens{2, bad};
    EXPECT_EQ(session->sync(tokens, {}).error().code, ErrorCode::invalid_argument) << bad;
  }
  EXPECT_FALSE(Session::make(model_->engine(), UINT32_MAX, std::nullopt).ok());
  EXPECT_TRUE(Session::make(model_->engine(), 8, std::nullopt).ok());  // shorter than the window
}

/// The default class of arithmetic: prefill rounds activations as decode does, so that only the
/// order of float32 sums differs, and the best token is the same.
TEST_F(SessionTest, PrefillAgreesWithDecodeInTheDefaultClass) {
  TinyModel model("tiny12-k", 43, formats::GgmlType::q4_0);
  const auto session = require_value(Session::make(model.engine(), 128, std::nullopt));
  for (const size_t n : {9u, 24u, 41u}) {
    const std::span<const int32_t> prompt(golden_->tokens.data(), n);
    int32_t best = -1;
    require_ok(session->evaluate(prompt, [&](uint32_t, std::span<const float> logits) {
      best = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    }));
    EXPECT_EQ(require_value(session->sync(std::vector<int32_t>{3}, {})).reused, 0u);
    require_value(session->sync(prompt, {}));
    EXPECT_EQ(require_value(session->generate(greedy(1), {})).tokens, std::vector<int32_t>{best});
  }
}

TEST(PrefillRows, FillsBucketsAndWastesLittle) {
  EXPECT_EQ(runtime::pick_prefill_rows(1, 256, true), 8u);
  EXPECT_EQ(runtime::pick_prefill_rows(8, 256, true), 8u);
  EXPECT_EQ(runtime::pick_prefill_rows(9, 256, true), 8u);
  EXPECT_EQ(runtime::pick_prefill_rows(12, 256, true), 16u);
  EXPECT_EQ(runtime::pick_prefill_rows(12, 256, false), 8u);
  EXPECT_EQ(runtime::pick_prefill_rows(4, 256, false), 8u);
  EXPECT_EQ(runtime::pick_prefill_rows(40, 256, true), 32u);
  EXPECT_EQ(runtime::pick_prefill_rows(60, 256, true), 64u);
  EXPECT_EQ(runtime::pick_prefill_rows(5000, 256, true), 256u);
  EXPECT_EQ(runtime::pick_prefill_rows(5000, 100, true), 64u);
  EXPECT_EQ(runtime::pick_prefill_rows(5000, 1, true), 8u);
}

TEST(NextRowLimit, KeepsSubmissionsBelowTheBound) {
  EXPECT_EQ(runtime::next_row_limit(32, 0.1, 0.5), 64u);    // fast: twice as much is tried
  EXPECT_EQ(runtime::next_row_limit(256, 0.1, 0.5), 256u);  // never beyond the largest pass
  EXPECT_EQ(runtime::next_row_limit(32, 1.0, 0.5), 16u);    // too slow: half fits
  EXPECT_EQ(runtime::next_row_limit(32, 100.0, 0.5), 8u);   // the smallest pass must run
}

TEST(RingSurvives, KnowsWhatTheNextPositionSees) {
  EXPECT_TRUE(runtime::ring_survives(10, 30, 16, 64));    // nothing has wrapped
  EXPECT_TRUE(runtime::ring_survives(100, 140, 16, 64));  // sees 85.., intact from 76
  EXPECT_FALSE(runtime::ring_survives(90, 140, 16, 64));  // sees 75, lost
  EXPECT_TRUE(runtime::ring_survives(91, 140, 16, 64));
  EXPECT_TRUE(runtime::ring_survives(0, 1000, 16, 64));  // an empty cache needs nothing
}

}  // namespace
}  // namespace kimberlite::testing
