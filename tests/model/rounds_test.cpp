// Drafting is invisible: with a drafter or without one, however many drafts a round, a session
// emits the same tokens. The drafters here have random weights and are right about never, or, where
// the noise of a high temperature decides alone, about always.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>

#include "model_fixture.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

using runtime::Generated;
using runtime::GenerateRequest;
using runtime::Session;

constexpr const char* kTargets[] = {"tiny12", "tiny31", "tiny26", "tiny-e2b", "tiny-e4b"};

/// A request that runs to its limit.
GenerateRequest request_of(float temperature, uint64_t seed, uint32_t n_tokens) {
  GenerateRequest request = greedy(n_tokens);
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  return request;
}

/// A target with a drafter beside it, on one device.
class Pair {
 public:
  Pair(const std::string& target, const Golden& golden, runtime::EngineOptions options = {})
      : drafter_(write_tiny(target + "-drafter", 7, formats::GgmlType::f32)),
        model_(target, golden.seed, formats::GgmlType::f32, with_drafter(options, drafter_)) {}
  ~Pair() { std::remove(drafter_.c_str()); }

  std::unique_ptr<Session> session(uint32_t context = 640,
                                   std::optional<kernels::KvType> kv_type = {}) {
    return require_value(Session::make(model_.engine(), context, kv_type));
  }
  runtime::Engine& engine() { return model_.engine(); }

 private:
  static runtime::EngineOptions with_drafter(runtime::EngineOptions options, std::string path) {
    options.draft_model = std::move(path);
    return options;
  }

  std::string drafter_;
  TinyModel model_;
};

constexpr kernels::KvType kCaches[] = {kernels::KvType::f16, kernels::KvType::f32,
                                       kernels::KvType::q8_0};
constexpr uint32_t kAsItPays = kMaxDrafts + 1;

/// How a generation samples: greedy, ten seeds at temperature 1, and noise alone.
constexpr uint32_t kSamplings = 12;
GenerateRequest sampling_of(uint32_t index) {
  constexpr uint32_t kTokens = 256;
  if (index == 0) return request_of(0, 0, kTokens);
  return request_of(index == 11 ? 1e6f : 1.0f, 100 + index, kTokens);
}

class RoundsTest : public ::testing::TestWithParam<const char*> {
 protected:
  /// Two turns after the golden's prompt: the second reads an answer that drafts have written.
  std::vector<int32_t> emitted(Session& session, GenerateRequest request,
                               std::optional<uint32_t> n_drafts) const {
    request.n_drafts = n_drafts;
    require_value(session.sync(golden_.tokens, {}));
    std::vector<int32_t> tokens = require_value(session.generate(request, {})).tokens;
    std::vector<int32_t> prompt = session.tokens();
    prompt.insert(prompt.end(), {5, 6, 7});
    require_value(session.sync(prompt, {}));
    request.max_tokens = 32;
    const auto more = require_value(session.generate(request, {})).tokens;
    tokens.insert(tokens.end(), more.begin(), more.end());
    return tokens;
  }

  /// Drafts change nothing, for 1 to kMaxDrafts or kAsItPays a round.
  void expect_invisible(uint32_t n_drafts, uint32_t sampling, uint32_t cache) {
    SCOPED_TRACE(fmt::format("{} drafts, sampling {}, cache {}", n_drafts, sampling, cache));
    auto& session = sessions_[cache];
    if (session == nullptr) session = pair_.session(640, kCaches[cache]);
    std::vector<int32_t>& alone = alone_[{sampling, cache}];
    if (alone.empty()) alone = emitted(*session, sampling_of(sampling), 0);
    ASSERT_EQ(alone.size(), 256u + 32u);
    const std::optional<uint32_t> fixed =
        n_drafts == kAsItPays ? std::nullopt : std::optional(n_drafts);
    EXPECT_EQ(emitted(*session, sampling_of(sampling), fixed), alone);
  }

  const Golden golden_ = require_value(Golden::load(GetParam()));
  Pair pair_{GetParam(), golden_};
  std::unique_ptr<Session> sessions_[std::size(kCaches)];
  std::map<std::pair<uint32_t, uint32_t>, std::vector<int32_t>> alone_;  // by sampling and cache
};

/// Over all models, every pair of a number of drafts, a kind of sampling and a type of cache.
TEST_P(RoundsTest, DraftsChangeNoToken) {
  constexpr uint32_t kKinds[] = {0, 1, 11};
  const auto model = static_cast<uint32_t>(
      std::ranges::find(kTargets, std::string_view(GetParam())) - std::begin(kTargets));
  for (uint32_t n = 1; n <= kAsItPays; ++n) {
    const uint32_t mix = n % 4;  // two numbers of drafts have what they are compared with in common
    expect_invisible(n, kKinds[(mix + model) % 3], (mix + 2 * model) % std::size(kCaches));
  }
}

/// The whole product, for tools/test.sh --all.
TEST_P(RoundsTest, DISABLED_DraftsChangeNoTokenInAnyCombination) {
  for (uint32_t cache = 0; cache < std::size(kCaches); ++cache) {
    for (uint32_t sampling = 0; sampling < kSamplings; ++sampling) {
      for (uint32_t n = 1; n <= kAsItPays; ++n) expect_invisible(n, sampling, cache);
    }
  }
}

TEST_P(RoundsTest, NoiseAloneIsDraftedRight) {
  if (pair_.engine().drafter()->config().clusters.n != 0) {
    GTEST_SKIP() << "a sparse head leaves out most of the tokens that noise may pick";
  }
  const auto session = pair_.session();
  GenerateRequest request = request_of(1e6f, 3, 128);
  request.n_drafts = 7;
  require_value(session->sync(golden_.tokens, {}));
  require_value(session->generate(request, {}));
  const runtime::DraftPolicy& drafting = session->drafting();
  EXPECT_GE(static_cast<double>(drafting.n_accepted()),
            0.95 * static_cast<double>(drafting.n_drafted()));
  EXPECT_LE(drafting.n_rounds(), 1 + 128 / 8 + 3);  // the first token is a plain step's
}

INSTANTIATE_TEST_SUITE_P(Models, RoundsTest, ::testing::ValuesIn(kTargets), golden_test_name);

/// Everything else about rounds, on one model.
class RoundTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    golden_ = new Golden(require_value(Golden::load("tiny12")));
    pair_ = new Pair("tiny12", *golden_);
  }
  static void TearDownTestSuite() {
    delete pair_;
    delete golden_;
  }
  /// Pairs of what a session without drafts and one with them emit, over the same turns.
  static void expect_equal_turns(Session& alone, Session& drafting, const GenerateRequest& request,
                                 uint32_t n_drafts, uint32_t n_turns) {
    std::vector<int32_t> prompt = golden_->tokens;
    for (uint32_t turn = 0; turn < n_turns; ++turn) {
      GenerateRequest with = request, without = request;
      with.n_drafts = n_drafts;
      without.n_drafts = 0;
      require_value(alone.sync(prompt, {}));
      require_value(drafting.sync(prompt, {}));
      const Generated expected = require_value(alone.generate(without, {}));
      const Generated actual = require_value(drafting.generate(with, {}));
      ASSERT_EQ(actual.tokens, expected.tokens) << "turn " << turn;
      EXPECT_EQ(actual.reason, expected.reason);
      prompt = drafting.tokens();
      ASSERT_EQ(prompt, alone.tokens());
      prompt.insert(prompt.end(), {5, 6, 7});
    }
  }
  static inline Golden* golden_ = nullptr;
  static inline Pair* pair_ = nullptr;
};

/// A third of the tokens may come, others after each text.
void allow_a_third(std::span<const int32_t> tokens, std::span<uint32_t> allowed) {
  const auto last = static_cast<uint32_t>(tokens.back());
  for (uint32_t word = 0; word < allowed.size(); ++word) {
    for (uint32_t bit = 0; bit < 32; ++bit) {
      const uint32_t hash = (word * 32 + bit) * 2654435761u ^ (last + 7) * 40503u;
      if ((hash >> 8) % 3 == 0) allowed[word] |= 1u << bit;
    }
  }
}

TEST_F(RoundTest, DraftsAndMasksAgree) {
  const auto session = pair_->session();
  // Where noise alone decides, the drafts that may come are right.
  for (const float temperature : {0.0f, 1e6f}) {
    GenerateRequest request = request_of(temperature, 9, 24);
    const auto emitted = [&](std::optional<uint32_t> n_drafts) {
      request.n_drafts = n_drafts;
      require_value(session->sync(golden_->tokens, {}));
      return require_value(session->generate(request, {})).tokens;
    };
    const std::vector<int32_t> free = emitted(3);
    request.mask = allow_a_third;
    const std::vector<int32_t> masked = emitted(0);
    EXPECT_NE(masked, free);
    std::vector<int32_t> text = golden_->tokens;
    for (const int32_t token : masked) {
      std::vector<uint32_t> allowed((pair_->engine().config().n_vocab + 31) / 32);
      allow_a_third(text, allowed);
      EXPECT_TRUE(allowed[static_cast<uint32_t>(token) / 32] >> (token % 32) & 1) << token;
      text.push_back(token);
    }
    for (const uint32_t n : {2u, 7u}) EXPECT_EQ(emitted(n), masked) << n;
    EXPECT_EQ(emitted(std::nullopt), masked);
    request.mask = nullptr;
    EXPECT_EQ(emitted(3), free);
  }
}

TEST_F(RoundTest, AMaskThatAllowsNothingIsAnError) {
  const auto session = pair_->session();
  for (const uint32_t n : {0u, 3u}) {
    GenerateRequest request = request_of(0, 9, 64);
    request.n_drafts = n;
    request.mask = [&](std::span<const int32_t> tokens, std::span<uint32_t> allowed) {
      if (tokens.size() < golden_->tokens.size() + 5) allow_a_third(tokens, allowed);
    };
    require_value(session->sync(golden_->tokens, {}));
    const auto generated = session->generate(request, {});
    ASSERT_FALSE(generated.ok());
    EXPECT_THAT(generated.error().message, ::testing::HasSubstr("no token can be sampled"));
    EXPECT_EQ(session->tokens().size(), golden_->tokens.size() + 5);
  }
}

TEST_F(RoundTest, OneSubmissionAndNothingElse) {
  const auto session = pair_->session();
  GenerateRequest request = request_of(1e6f, 3, 64);
  request.n_drafts = 3;
  require_value(session->sync(golden_->tokens, {}));
  require_value(session->generate(request, {}));  // records the round
  GenerateRequest one = request;
  one.max_tokens = 1;
  const auto start = pair_->engine().device().counters();
  require_value(session->generate(one, {}));
  const auto before = pair_->engine().device().counters();
  const uint64_t n_rounds = session->drafting().n_rounds();
  require_value(session->generate(request, {}));
  const auto after = pair_->engine().device().counters();
  EXPECT_EQ(after.records - before.records, 0u);
  EXPECT_EQ(after.allocations - before.allocations, 0u);
  const uint64_t n_new = session->drafting().n_rounds() - n_rounds;
  EXPECT_LE(n_new, 20u);
  // Where the state of a generation is staged, that takes submissions before the first round.
  EXPECT_EQ(after.submits - before.submits, n_new + (before.submits - start.submits - 1));
}

TEST_F(RoundTest, PenaltiesSeeTheDraftsBefore) {
  const auto alone = pair_->session(), drafting = pair_->session();
  GenerateRequest request = request_of(0.8f, 11, 96);
  request.sampling.repeat_penalty = 1.3f;
  request.sampling.presence_penalty = 0.5f;
  request.sampling.frequency_penalty = 0.4f;
  request.sampling.top_k = 40;
  request.sampling.top_p = 0.9f;
  expect_equal_turns(*alone, *drafting, request, 4, 3);
  request.sampling.temperature = 1e6f;  // drafts are right, and count
  expect_equal_turns(*alone, *drafting, request, 4, 2);
}

TEST_F(RoundTest, LimitsInTheMiddleOfARound) {
  const auto session = pair_->session();
  require_value(session->sync(golden_->tokens, {}));
  GenerateRequest request = request_of(1e6f, 9, 40);
  request.n_drafts = 0;
  const std::vector<int32_t> all = require_value(session->generate(request, {})).tokens;
  request.n_drafts = 7;
  for (uint32_t n = 1; n <= 12; ++n) {
    request.max_tokens = n;
    require_value(session->sync(golden_->tokens, {}));
    const Generated out = require_value(session->generate(request, {}));
    EXPECT_EQ(out.tokens, std::vector<int32_t>(all.begin(), all.begin() + n));
    EXPECT_EQ(out.reason, StopReason::max_tokens);
  }
  request.max_tokens = 40;
  for (size_t at = 1; at < 12; ++at) {
    if (std::find(all.begin(), all.begin() + at, all[at]) != all.begin() + at) continue;
    request.stop_ids = {all[at]};
    require_value(session->sync(golden_->tokens, {}));
    const Generated out = require_value(session->generate(request, {}));
    EXPECT_EQ(out.tokens, std::vector<int32_t>(all.begin(), all.begin() + at + 1));
    EXPECT_EQ(out.reason, StopReason::stop_id);
  }
}

/// A caller that stops, as a stop string does, gets no token more, and may go on from there.
TEST_F(RoundTest, ACallerStopsWithinARound) {
  const auto session = pair_->session();
  GenerateRequest request = request_of(1e6f, 21, 40);
  request.n_drafts = 0;
  require_value(session->sync(golden_->tokens, {}));
  const std::vector<int32_t> all = require_value(session->generate(request, {})).tokens;
  request.n_drafts = 7;
  for (size_t n = 1; n <= 10; ++n) {
    require_value(session->sync(golden_->tokens, {}));
    std::vector<int32_t> heard;
    const Generated out = require_value(session->generate(request, [&](int32_t token) {
      heard.push_back(token);
      return heard.size() < n;
    }));
    EXPECT_EQ(out.reason, StopReason::callback);
    EXPECT_EQ(heard, std::vector<int32_t>(all.begin(), all.begin() + n));
    EXPECT_EQ(out.tokens, heard);
    EXPECT_EQ(session->tokens().size(), golden_->tokens.size() + n);
    // The cache holds all but the last: nothing is computed again.
    EXPECT_EQ(require_value(session->sync(session->tokens(), {})).recomputed, 0u);
    GenerateRequest rest = request;
    rest.max_tokens = 12;
    const Generated next = require_value(session->generate(rest, {}));
    EXPECT_EQ(next.tokens, std::vector<int32_t>(all.begin() + n, all.begin() + n + 12));
  }
}

TEST_F(RoundTest, TheEndOfTheContext) {
  const auto context = static_cast<uint32_t>(golden_->tokens.size() + 21);
  const auto alone = pair_->session(context), drafting = pair_->session(context);
  for (const float temperature : {0.0f, 1e6f}) {
    for (uint32_t n = 1; n <= kMaxDrafts; ++n) {
      GenerateRequest request = request_of(temperature, 4, 0);
      expect_equal_turns(*alone, *drafting, request, n, 1);
      EXPECT_EQ(drafting->tokens().size(), context);
    }
  }
}

TEST_F(RoundTest, HistoryIsEditedBetweenRounds) {
  const auto alone = pair_->session(), drafting = pair_->session();
  expect_equal_turns(*alone, *drafting, request_of(1e6f, 8, 60), 5, 2);
  std::vector<int32_t> edited = drafting->tokens();
  edited.resize(edited.size() - 30);
  edited.insert(edited.end(), {9, 8, 7});
  require_value(alone->sync(edited, {}));
  require_value(drafting->sync(edited, {}));
  GenerateRequest request = request_of(1, 8, 60);
  request.n_drafts = 0;
  const auto expected = require_value(alone->generate(request, {})).tokens;
  request.n_drafts = 5;
  EXPECT_EQ(require_value(drafting->generate(request, {})).tokens, expected);
}

TEST_F(RoundTest, TooManyDraftsAreRefused) {
  const auto session = pair_->session();
  require_value(session->sync(golden_->tokens, {}));
  GenerateRequest request = request_of(0, 0, 4);
  request.n_drafts = 8;
  const auto refused = session->generate(request, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(refused.error().message.find("8 drafts"), std::string::npos);
}

/// A drafter of another model is refused by name with both values, and is not found by itself.
TEST_F(RoundTest, ADrafterOfAnotherModel) {
  const std::string other = write_tiny("tiny31-drafter", 7, formats::GgmlType::f32);
  const auto drafter = runtime::Drafter::open(other, pair_->engine().config());
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(drafter.error().message.find(other), std::string::npos);
  std::remove(other.c_str());
}

}  // namespace
}  // namespace kimberlite::testing
