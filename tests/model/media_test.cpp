// Pictures and sounds in a session, against the official implementation.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "media_fixture.hpp"
#include "runtime/session.hpp"
#include "synthetic/projector_file.hpp"

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
  for (const char* name : {"picture", "pictures", "both", "video"}) {
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

/// The same placeholders, another picture: nothing behind it may come from the cache.
TEST_F(MediaTest, TwoPicturesShareNoCacheEntry) {
  const MediaPrompt media = find("picture");
  const Prompt first = prompt_of(media);
  Prompt second = first;
  SoftTokens other = *first.runs[0].soft;
  other.hash[0] ^= 1;
  for (float& value : other.rows) value = -value;
  second.runs[0].soft = std::make_shared<SoftTokens>(other);

  const auto session = make();
  require_value(session->sync_prompt(first, {}));
  EXPECT_EQ(require_value(session->sync_prompt(first, {})).recomputed, 0u);
  const uint32_t begin = first.runs[0].first;
  EXPECT_EQ(require_value(session->sync_prompt(second, {})).reused, begin);
  const std::vector<float> after = require_value(session->pending_logits());
  const auto fresh = make();
  require_value(fresh->sync_prompt(second, {}));
  EXPECT_LE(max_difference(after, require_value(fresh->pending_logits())), 1e-4);

  // And as tokens alone, which the placeholders are too.
  EXPECT_EQ(require_value(session->sync(first.tokens, {})).reused, begin);
  EXPECT_EQ(require_value(session->sync_prompt(first, {})).reused, begin);
  EXPECT_LE(max_difference(require_value(session->pending_logits()),
                           golden_->array("logits.picture").row(media.positions.size() - 1)),
            1e-3);
}

/// A picture asked about again is found by its content; its embeddings are the same object.
TEST_F(MediaTest, EmbeddingsAreFoundByTheirContent) {
  const nlohmann::json run = find("picture").runs[0];
  const auto first = embed_run(model_->engine(), *golden_, run);
  const uint64_t n = model_->engine().media().n_computed();
  EXPECT_EQ(embed_run(model_->engine(), *golden_, run), first);
  EXPECT_EQ(model_->engine().media().n_computed(), n);
  nlohmann::json turned = run;
  std::swap(turned["columns"], turned["rows"]);  // the same values in another grid
  EXPECT_NE(embed_run(model_->engine(), *golden_, turned)->hash, first->hash);
}

TEST_F(MediaTest, RefusesWhatCannotBe) {
  runtime::MediaEmbedder& media = model_->engine().media();
  const std::vector<float> values(6912 * 4);
  EXPECT_EQ(media.embed_picture(2, 2, std::span(values).first(6912)).error().message,
            "a picture of 2 x 2 patches has 6912 values, expected 4 rows of 6912");
  EXPECT_EQ(media.embed_picture(25, 1, values).error().message,
            "a picture of 25 x 1 patches: each side needs 1 to 24");
  EXPECT_EQ(media.embed_picture(0, 1, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(media.embed_sound(std::span(values).first(641)).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(media.embed_sound({}).error().code, ErrorCode::invalid_argument);
  const Prompt prompt = prompt_of(find("picture"));
  const auto session = make();
  require_value(session->sync(std::vector<int32_t>{2, 3, 4}, {}));
  Prompt cut = prompt;
  cut.tokens.resize(prompt.runs[0].end());
  EXPECT_EQ(session->sync_prompt(cut, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(session->tokens(), (std::vector<int32_t>{2, 3, 4}));
}

/// Rings that have wrapped, and a picture that is larger than a pass of text: as where they hold
/// all.
TEST_F(MediaTest, WrappedRingsHoldALargePicture) {
  constexpr uint32_t kContext = 1024;
  constexpr uint32_t kPatches = 400;
  runtime::EngineOptions options = with_projector(precise(), path_);
  options.max_picture_tokens = kPatches;
  TinyModel small("tiny12", golden_->header.at("seed"), formats::GgmlType::f32, options);
  const auto narrow = require_value(Session::make(small.engine(), kContext, std::nullopt));
  const auto wide = make(kContext);
  ASSERT_LT(narrow->kv_bytes(), wide->kv_bytes());

  Prompt prompt;
  for (uint32_t i = 0; i < 900; ++i) {
    prompt.tokens.push_back(static_cast<int32_t>(4 + i * 37 % 500));
  }
  const uint32_t width = model_->engine().config().width;
  SoftTokens soft{{1, 2}, kPatches, true, synthetic::make_media(1, "rows", kPatches * width, true)};
  for (float& value : soft.rows) value *= 7;  // as large as embeddings are
  prompt.runs.push_back({470, std::make_shared<SoftTokens>(soft)});
  const auto expect_equal = [&](const Prompt& part) {
    require_value(narrow->sync_prompt(part, {}));
    require_value(wide->sync_prompt(part, {}));
    EXPECT_LE(max_difference(require_value(narrow->pending_logits()),
                             require_value(wide->pending_logits())),
              1e-4);
  };
  Prompt part = prompt;
  part.tokens.resize(prompt.runs[0].end() + 2);  // the window sees the picture
  expect_equal(part);
  expect_equal(prompt);
  soft.n = kPatches + 1;
  soft.rows.resize(soft.n * width);
  prompt.runs[0].soft = std::make_shared<SoftTokens>(soft);
  EXPECT_EQ(narrow->sync_prompt(prompt, {}).error().message,
            "picture 0 has 401 embeddings, at most 400 are possible");
}

/// A picture is one pass whatever its size; one with more rows than a submission may hold takes
/// several.
TEST_F(MediaTest, ALargePictureTakesSeveralSubmissions) {
  const auto count = [&](uint32_t n_patches) {
    const auto session = make(1024);
    const uint32_t width = model_->engine().config().width;
    const SoftTokens soft{
        {3, 4}, n_patches, true, synthetic::make_media(1, "rows", n_patches * width, true)};
    const Prompt prompt{std::vector<int32_t>(n_patches + 1, 7),
                        {{0, std::make_shared<SoftTokens>(soft)}}};
    const uint64_t before = model_->engine().device().counters().submits;
    require_value(session->sync_prompt(prompt, {}));
    return model_->engine().device().counters().submits - before;
  };
  // Rows come in multiples of 64 there, a submission holds 256; the snapshot behind is one more.
  EXPECT_EQ(count(600) - count(100), 2u);
}

/// Drafters see the keys and values of pictures like any others, and change no token.
TEST_F(MediaTest, DraftsChangeNoToken) {
  const std::string drafter = write_tiny("tiny12-drafter", 7, formats::GgmlType::f32);
  runtime::EngineOptions options = with_projector(precise(), path_);
  options.draft_model = drafter;
  TinyModel pair("tiny12", golden_->header.at("seed"), formats::GgmlType::f32, options);
  const auto session = require_value(Session::make(pair.engine(), 512, std::nullopt));
  const MediaPrompt media = find("both");
  for (const uint32_t n_drafts : {0u, 3u}) {
    require_value(session->sync_prompt(make_prompt(pair.engine(), *golden_, media), {}));
    runtime::GenerateRequest request = greedy(static_cast<uint32_t>(media.greedy.size()));
    request.n_drafts = n_drafts;
    EXPECT_EQ(require_value(session->generate(request, {})).tokens, media.greedy) << n_drafts;
  }
  std::filesystem::remove(drafter);
}

}  // namespace
}  // namespace kimberlite::testing
