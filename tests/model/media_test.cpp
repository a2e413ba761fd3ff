// Pictures and sounds in a session, against the official implementation.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "media_fixture.hpp"
#include "runtime/session.hpp"

namespace kimberlite::testing {
namespace {

using runtime::Prompt;
using runtime::Session;
using runtime::SoftRun;
using runtime::SoftTokens;

class MediaTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    golden_ = new Golden(require_value(Golden::load("tiny12-media")));
    path_ = write_tiny_projector(golden_->header.at("projector_seed"), formats::GgmlType::f32);
    model_ = new TinyModel("tiny12", golden_->header.at("seed"), formats::GgmlType::f32,
                           with_projector(precise(), path_));
  }
  static void TearDownTestSuite() {
    delete model_;
    delete golden_;
    std::filesystem::remove(path_);
  }
  static std::unique_ptr<Session> make(uint32_t context = 512) {
    return require_value(Session::make(model_->engine(), context, std::nullopt));
  }
  static Prompt prompt_of(const MediaPrompt& prompt, size_t n = SIZE_MAX) {
    return make_prompt(model_->engine(), *golden_, prompt, n);
  }
  static MediaPrompt find(const std::string& name) {
    for (MediaPrompt& prompt : media_prompts(*golden_)) {
      if (prompt.name == name) return prompt;
    }
    KL_CHECK(false, name.c_str());
    return {};
  }

  static inline Golden* golden_ = nullptr;
  static inline std::string path_;
  static inline TinyModel* model_ = nullptr;
};

/// Each position by a session of its own, and all by one that goes on: what is behind a picture
/// must not depend on how the prompt came.
TEST_F(MediaTest, LogitsBehindPicturesAndSoundsAgree) {
  double worst = 0;
  for (const MediaPrompt& prompt : media_prompts(*golden_)) {
    const GoldenArray& golden = golden_->array("logits." + prompt.name);
    const auto one = make();
    for (size_t i = 0; i < prompt.positions.size(); ++i) {
      SCOPED_TRACE(fmt::format("{} {}", prompt.name, prompt.positions[i]));
      require_value(one->sync_prompt(prompt_of(prompt, prompt.positions[i] + 1), {}));
      const double difference = max_difference(require_value(one->pending_logits()), golden.row(i));
      worst = std::max(worst, difference);
      EXPECT_LE(difference, 1e-3);
    }
    const auto other = make();
    require_value(other->sync_prompt(prompt_of(prompt), {}));
    EXPECT_LE(max_difference(require_value(other->pending_logits()),
                             golden.row(prompt.positions.size() - 1)),
              1e-3)
        << prompt.name;
  }
  RecordProperty("max_difference", fmt::format("{:.1e}", worst));
}

TEST_F(MediaTest, GreedyTokensAgree) {
  for (const MediaPrompt& prompt : media_prompts(*golden_)) {
    const auto session = make();
    require_value(session->sync_prompt(prompt_of(prompt), {}));
    const auto request = greedy(static_cast<uint32_t>(prompt.greedy.size()));
    EXPECT_EQ(require_value(session->generate(request, {})).tokens, prompt.greedy) << prompt.name;
  }
}

/// What the golden must see: a picture whose tokens do not see those behind them, and one as a
/// sound.
TEST_F(MediaTest, ACausalPictureIsSeen) {
  for (const char* name : {"picture", "pictures", "both"}) {
    const MediaPrompt media = find(name);
    Prompt prompt = prompt_of(media);
    for (SoftRun& run : prompt.runs) {
      SoftTokens causal = *run.soft;
      causal.is_block = false;
      run.soft = std::make_shared<SoftTokens>(causal);
    }
    const auto session = make();
    require_value(session->sync_prompt(prompt, {}));
    const GoldenArray& golden = golden_->array(fmt::format("logits.{}", name));
    EXPECT_GT(max_difference(require_value(session->pending_logits()),
                             golden.row(media.positions.size() - 1)),
              0.02)
        << name;
  }
}

}  // namespace
}  // namespace kimberlite::testing
