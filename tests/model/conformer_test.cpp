// Sounds through an encoder against the official implementation: embeddings, and logits of text
// behind them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "formats/convert.hpp"
#include "media/mel.hpp"
#include "media_fixture.hpp"
#include "runtime/session.hpp"
#include "support/conformer_checkpoint.hpp"
#include "synthetic/projector_file.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::testing {
namespace {

using formats::GgmlType;
using runtime::Session;

class ConformerTest : public ::testing::Test {
 protected:
  ~ConformerTest() override {
    for (const std::string& path : paths_) std::filesystem::remove(path);
  }
  std::unique_ptr<TinyModel> open(GgmlType type = GgmlType::f32) {
    const std::string& path = paths_.emplace_back(
        write_tiny_projector(golden_.header.at("projector_seed"), type,
                             golden_.header.at("projector").get<std::string>()));
    return std::make_unique<TinyModel>(golden_.header.at("model").get<std::string>(),
                                       golden_.header.at("seed"), GgmlType::f32,
                                       with_projector(precise(), path));
  }
  [[nodiscard]] MediaPrompt prompt() const { return media_prompts(golden_).front(); }
  void expect_embeddings(runtime::Engine& engine, const std::string& suffix) {
    double worst = 0;
    for (const nlohmann::json& run : prompt().runs) {
      const std::string key =
          fmt::format("embeddings.{}{}", run.at("name").get<std::string>(), suffix);
      if (!golden_.arrays.contains(key)) continue;
      const auto soft = embed_run(engine, golden_, run);
      const double difference = relative_difference(soft->rows, golden_.array(key));
      EXPECT_LE(difference, kTolerance) << key;
      EXPECT_FALSE(soft->is_block) << key;
      worst = std::max(worst, difference);
    }
    EXPECT_GT(worst, 0);
    RecordProperty("relative_difference" + suffix, fmt::format("{:.1e}", worst));
  }
  static std::vector<float> mel_of(uint64_t n_samples) {
    return media::make_mel(synthetic::make_media(1, "sound", n_samples, /*sound=*/true)).values;
  }

  /// Of embeddings, in units of their root mean square; the smallest mistake moves them by 0.02.
  static constexpr double kTolerance = 3e-5;

  const Golden golden_ = require_value(Golden::load("tiny-e2b-sounds"));
  std::vector<std::string> paths_;
};

TEST_F(ConformerTest, EmbeddingsAgree) { expect_embeddings(open()->engine(), ""); }

/// The golden has the values that the types stand for, so the bound is that of float32.
TEST_F(ConformerTest, EmbeddingsOfEveryTypeAgree) {
  for (const GgmlType type : {GgmlType::f16, GgmlType::bf16, GgmlType::q8_0}) {
    expect_embeddings(open(type)->engine(), fmt::format(".{}", formats::traits(type).name));
  }
}

TEST_F(ConformerTest, LogitsBehindSoundsAgree) {
  const auto model = open();
  const MediaPrompt media = prompt();
  const GoldenArray& golden = golden_.array("logits." + media.name);
  const auto session = require_value(Session::make(model->engine(), 512, std::nullopt));
  double worst = 0;
  for (size_t i = 0; i < media.positions.size(); ++i) {
    const size_t n = media.positions[i] + 1;
    require_value(session->sync_prompt(make_prompt(model->engine(), golden_, media, n), {}));
    const double difference =
        max_difference(require_value(session->pending_logits()), golden.row(i));
    worst = std::max(worst, difference);
    EXPECT_LE(difference, 1e-3) << media.positions[i];
  }
  const auto other = require_value(Session::make(model->engine(), 512, std::nullopt));
  require_value(other->sync_prompt(make_prompt(model->engine(), golden_, media), {}));
  const auto request = greedy(static_cast<uint32_t>(media.greedy.size()));
  EXPECT_EQ(require_value(other->generate(request, {})).tokens, media.greedy);
  RecordProperty("max_difference", fmt::format("{:.1e}", worst));
}

/// From a checkpoint through `convert`: the same weights, but for the rounding of the scales, which
/// a checkpoint has before softplus.
TEST_F(ConformerTest, ConvertedEmbeddingsAgree) {
  TempFolder folder;
  const std::string checkpoint = folder.file("checkpoint");
  std::filesystem::create_directory(checkpoint);
  const auto shape =
      synthetic::find_projector_shape(golden_.header.at("projector").get<std::string>());
  require_ok(write_conformer_checkpoint(*shape, golden_.header.at("projector_seed"), checkpoint));
  formats::ConvertOptions options;
  options.mmproj = true;
  options.type = GgmlType::f32;
  const std::string path = folder.file("mmproj.gguf");
  EXPECT_EQ(require_value(formats::convert(checkpoint, path, options)).n_skipped, 0u);
  TinyModel model(golden_.header.at("model").get<std::string>(), golden_.header.at("seed"),
                  GgmlType::f32, with_projector(precise(), path));
  expect_embeddings(model.engine(), "");
}

/// A longer sound starts as a shorter one: but for the last token, which the convolutions let see
/// what comes next, all of the tokens before depend on what was heard so far alone, whatever the
/// number of rows that are computed.
TEST_F(ConformerTest, TokensDependOnThePast) {
  const auto model = open();
  const std::vector<float> mel = mel_of(48'000);
  const auto embed = [&](uint64_t n_frames) {
    const auto frames = std::span(mel).first(n_frames * media::kMelBins);
    return require_value(model->engine().media().embed_sound(frames))->rows;
  };
  const std::vector<float> all = embed(298);
  ASSERT_EQ(all.size(), uint64_t{75} * 256);
  for (const uint64_t n_frames : {297u, 200u, 33u, 5u}) {
    std::vector<float> some = embed(n_frames);
    ASSERT_EQ(some.size(), (n_frames + 3) / 4 * 256);
    some.resize(some.size() - 256);
    const std::vector<float> same(all.begin(), all.begin() + std::ssize(some));
    EXPECT_LE(max_difference(some, same), 1e-3) << n_frames;
  }
}

/// Thirty seconds, and a frame too many.
TEST_F(ConformerTest, SoundsHaveABound) {
  const auto model = open();
  std::vector<float> mel = mel_of(480'000);
  ASSERT_EQ(mel.size(), uint64_t{2999} * media::kMelBins);
  const auto soft = require_value(model->engine().media().embed_sound(mel));
  EXPECT_EQ(soft->n, 750u);
  EXPECT_TRUE(std::ranges::all_of(soft->rows, [](float x) { return std::isfinite(x); }));
  mel.resize(uint64_t{3001} * media::kMelBins);
  EXPECT_EQ(model->engine().media().embed_sound(mel).error().message,
            "a sound of 384128 values, expected 1 to 3000 mel frames of 128");
  EXPECT_EQ(model->engine().media().embed_sound(std::span(mel).first(130)).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(model->engine().media().embed_sound({}).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kimberlite::testing
