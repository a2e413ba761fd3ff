// Pebble looks and listens, through the public interface: a projector that is a little wrong, or
// a picture in the wrong order, shows up here as wrong answers.
#include "kimberlite/media.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numbers>

namespace kimberlite::testing {
namespace {

constexpr uint32_t kSide = 48;
using Colour = std::array<float, 3>;
constexpr Colour kWhite{1, 1, 1};

/// A disc in a picture of 3 x 2 patches, of which it covers four.
Picture draw_disc(const Colour& colour) {
  constexpr uint32_t kColumns = 3, kRows = 2;
  constexpr float kX = 1.0f * kSide, kY = 1.0f * kSide, kRadius = 0.8f * kSide;
  Picture picture{kColumns, kRows, std::vector<float>(kColumns * kRows * 3 * kSide * kSide)};
  for (uint32_t y = 0; y < kRows * kSide; ++y) {
    for (uint32_t x = 0; x < kColumns * kSide; ++x) {
      const float dx = static_cast<float>(x) + 0.5f - kX, dy = static_cast<float>(y) + 0.5f - kY;
      const Colour& seen = dx * dx + dy * dy <= kRadius * kRadius ? colour : kWhite;
      const uint32_t patch = y / kSide * kColumns + x / kSide;
      for (uint32_t plane = 0; plane < 3; ++plane) {
        picture.patches[((patch * 3 + plane) * kSide + y % kSide) * kSide + x % kSide] =
            seen[plane];
      }
    }
  }
  return picture;
}

/// Half a second of one tone.
Sound play_tone(double hertz) {
  Sound sound{std::vector<float>(640 * 13)};
  for (size_t i = 0; i < 8000; ++i) {
    const double seconds = static_cast<double>(i) / 16000;
    sound.frames[i] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hertz * seconds));
  }
  return sound;
}

class PebbleMediaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelOptions options;
    options.cache_dir = "none";
    auto model = Model::open(KIMBERLITE_SOURCE_DIR "/tools/pebble/model/pebble-Q8_0.gguf", options);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::move(model).value();
    auto session = model_->new_session({});
    ASSERT_TRUE(session.ok()) << session.error().message;
    session_ = std::move(session).value();
  }

  std::string ask(std::vector<Part> parts) {
    const auto prompt = encode_media_chat(*model_, {{Role::user, std::move(parts)}});
    if (!prompt.ok()) return prompt.error().message;
    const auto read = sync(*session_, *prompt);
    if (!read.ok()) return read.error().message;
    n_reused_ = read->reused;
    GenerateOptions options;
    options.sampling.temperature = 0;
    options.max_tokens = 32;
    std::string answer;
    const auto result = session_->generate(options, [&](const TokenEvent& event) {
      answer += event.text;
      return true;
    });
    return result.ok() ? answer : result.error().message;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Session> session_;
  uint32_t n_reused_ = 0;
};

TEST_F(PebbleMediaTest, SeesColoursAndShapes) {
  const MediaSupport support = media_support(*model_);
  ASSERT_TRUE(support.pictures && support.sounds) << support.reason;
  EXPECT_EQ(support.max_picture_tokens, 1120u);
  const Picture red = draw_disc({220 / 255.f, 30 / 255.f, 30 / 255.f});
  const Picture blue = draw_disc({40 / 255.f, 70 / 255.f, 220 / 255.f});
  EXPECT_EQ(ask({red, "What colour is it?"}), "It is red.");
  const uint32_t n_alone = n_reused_;
  EXPECT_EQ(ask({blue, "What colour is it?"}), "It is blue.");
  EXPECT_LT(n_reused_, 8u);  // nothing of the red one
  EXPECT_EQ(ask({blue, "What shape is it?"}), "It is a circle.");
  EXPECT_GE(n_reused_, 5u + 1u + 6u + 1u);  // but the blue one, and what is before and behind it
  EXPECT_EQ(n_alone, 0u);
}

TEST_F(PebbleMediaTest, HearsTones) {
  EXPECT_EQ(ask({play_tone(1400), "Is the sound high or low?"}), "It is high.");
  EXPECT_EQ(ask({play_tone(220), "Is the sound high or low?"}), "It is low.");
}

TEST_F(PebbleMediaTest, RefusesPicturesThatAreNoPictures) {
  Picture picture = draw_disc({1, 0, 0});
  picture.n_x = 2;
  EXPECT_EQ(ask({picture, "?"}),
            "a picture of 2 x 2 patches has 41472 values, expected 4 rows of 6912");
}

}  // namespace
}  // namespace kimberlite::testing
