// Pebble, the model that the repository ships, answers held-out prompts as it did in its training
// tool: a kernel that is a little wrong shows up here as wrong answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

#include "kimberlite/kimberlite.hpp"
#include "pebble/answer_check.hpp"
#include "runtime/engine.hpp"
#include "runtime/session.hpp"

namespace kimberlite::testing {
namespace {

using nlohmann::json;

const std::string kFolder = KIMBERLITE_SOURCE_DIR "/tools/pebble/model/";

json read_json(const std::string& name) {
  std::ifstream file(kFolder + name);
  return json::parse(file, nullptr, /*allow_exceptions=*/false);
}

struct Score {
  uint32_t n = 0;
  uint32_t n_right = 0;
  uint32_t n_valid = 0;
};

/// An engine with Pebble, and its drafter, and a session on it, asked one prompt after another.
class PebbleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    file_ = read_json("prompts.json");
    ASSERT_FALSE(file_.is_discarded());
    runtime::EngineOptions options;
    options.cache_dir = "none";
    auto engine = runtime::Engine::open(kFolder + "pebble-Q8_0.gguf", options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
    ASSERT_NE(engine_->drafter(), nullptr) << engine_->no_drafter_reason();
    auto session = runtime::Session::make(*engine_, 0, std::nullopt);
    ASSERT_TRUE(session.ok()) << session.error().message;
    session_ = std::move(session).value();
  }

  std::vector<int32_t> generate(const json& prompt, runtime::GenerateRequest request) {
    const auto synced = session_->sync(prompt.at("tokens").get<std::vector<int32_t>>(), {});
    EXPECT_TRUE(synced.ok()) << synced.error().message;
    request.stop_ids = file_.at("stops").get<std::vector<int32_t>>();
    request.max_tokens = file_.at("most");
    auto generated = session_->generate(request, {});
    EXPECT_TRUE(generated.ok()) << generated.error().message;
    return generated.ok() ? std::move(generated->tokens) : std::vector<int32_t>();
  }

  /// Greedy, with so many drafts a round, up to and without the token that ends it.
  std::string answer(const json& prompt, uint32_t n_drafts) {
    runtime::GenerateRequest request;
    request.sampling.temperature = 0;
    request.n_drafts = n_drafts;
    std::vector<int32_t> tokens = generate(prompt, request);
    const auto stops = file_.at("stops").get<std::vector<int32_t>>();
    if (!tokens.empty() && std::ranges::count(stops, tokens.back()) > 0) tokens.pop_back();
    return engine_->tokenizer()->decode(tokens).value();
  }

  /// Asks `most` prompts of each task, alone and with two drafts a round.
  void expect_known_answers(uint32_t most);

  json file_;
  std::unique_ptr<runtime::Engine> engine_;
  std::unique_ptr<runtime::Session> session_;
};

void PebbleTest::expect_known_answers(uint32_t most) {
  std::map<std::string, Score> scores;
  uint32_t n = 0, n_agreed = 0, n_same = 0;
  for (const json& prompt : file_.at("prompts")) {
    Score& score = scores[prompt.at("task")];
    if (score.n == most) continue;
    const std::string said = answer(prompt, 0);
    EXPECT_EQ(answer(prompt, 2), said);
    const Verdict verdict = judge(prompt.at("check"), said);
    ++n;
    ++score.n;
    score.n_right += verdict.right;
    score.n_valid += verdict.valid;
    n_agreed += verdict.right == prompt.at("right").get<bool>();
    n_same += said == prompt.at("said").get<std::string>();
  }
  for (const auto& [task, score] : scores) {
    std::printf("%-12s %u of %u right\n", task.c_str(), score.n_right, score.n);
  }
  const runtime::DraftPolicy& drafting = session_->drafting();
  const double acceptance = static_cast<double>(drafting.n_accepted()) /
                            static_cast<double>(std::max<uint64_t>(drafting.n_drafted(), 1));
  std::printf("same verdict on %u of %u, same words on %u; %.3f of the drafts right\n", n_agreed, n,
              n_same, acceptance);
  EXPECT_GE(n_agreed, 0.98 * n);
  EXPECT_GE(scores.at("calculator").n_right, 0.9 * scores.at("calculator").n);
  EXPECT_GE(scores.at("json").n_valid, 0.99 * scores.at("json").n);
  EXPECT_GE(acceptance, 0.6);
}

TEST_F(PebbleTest, AnswersHeldOutPromptsAsInItsTraining) { expect_known_answers(UINT32_MAX); }
TEST_F(PebbleTest, AnswersOneOfEachTask) { expect_known_answers(1); }

/// Drafts that are mostly right change as little as drafts that are wrong.
TEST_F(PebbleTest, DraftsChangeNoToken) {
  runtime::GenerateRequest request;
  for (const json& prompt : {file_["prompts"].front(), file_["prompts"].back()}) {
    for (const uint64_t seed : {0, 1, 2}) {
      request.sampling.temperature = seed == 0 ? 0.0f : 1.0f;
      request.sampling.seed = seed;
      request.n_drafts = 0;
      const std::vector<int32_t> alone = generate(prompt, request);
      for (uint32_t n = 1; n <= kMaxDrafts; ++n) {
        request.n_drafts = n;
        EXPECT_EQ(generate(prompt, request), alone) << n << " drafts, seed " << seed;
      }
      request.n_drafts.reset();
      EXPECT_EQ(generate(prompt, request), alone) << "as it pays, seed " << seed;
    }
  }
}

}  // namespace
}  // namespace kimberlite::testing
