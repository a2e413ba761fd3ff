// Pebble names colours, shapes, counts and beeps from files on disk, as well as in its training.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "formats/temp_folder.hpp"
#include "kimberlite/media.hpp"
#include "pebble/scenes.hpp"

namespace kimberlite::testing {
namespace {

constexpr const char* kCounts[] = {"One", "Two", "Three", "Four", "Five"};
constexpr Rgb kBackgrounds[] = {{255, 255, 255}, {0, 0, 0}, {210, 225, 240}, {45, 50, 60}};

class PebbleFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelOptions options;
    options.cache_dir = "none";
    auto model = Model::open(KIMBERLITE_SOURCE_DIR "/tools/pebble/model/pebble-Q8_0.gguf", options);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::move(model).value();
    SessionOptions small;
    small.context = 512;
    auto session = model_->new_session(small);
    ASSERT_TRUE(session.ok()) << session.error().message;
    session_ = std::move(session).value();
  }

  std::string ask(std::vector<Part> parts, const char* question) {
    parts.emplace_back(question);
    const auto prompt = encode_media_chat(*model_, {{Role::user, std::move(parts)}});
    EXPECT_TRUE(prompt.ok()) << prompt.error().message;
    const auto read = sync(*session_, *prompt);
    EXPECT_TRUE(read.ok()) << read.error().message;
    GenerateOptions options;
    options.sampling.temperature = 0;
    options.max_tokens = 16;
    std::string text;
    const auto generated = session_->generate(options, [&](const TokenEvent& event) {
      text += event.text;
      return true;
    });
    EXPECT_TRUE(generated.ok()) << generated.error().message;
    return text;
  }

  std::string ask_picture(const Scene& scene, const char* question) {
    auto picture = read_picture(*model_, folder_.write("picture.bmp", draw_bmp(scene)));
    EXPECT_TRUE(picture.ok()) << picture.error().message;
    EXPECT_EQ(picture->n_x, scene.n_columns);
    EXPECT_EQ(picture->n_y, scene.n_rows);
    return ask({std::move(picture).value()}, question);
  }
  std::string ask_sound(const std::vector<Tone>& tones, const char* question) {
    auto sounds = read_sound(*model_, folder_.write("sound.wav", play_wav(tones, 44100)));
    EXPECT_TRUE(sounds.ok()) << sounds.error().message;
    EXPECT_EQ(sounds->size(), 1u);
    return ask({std::move(sounds->front())}, question);
  }

  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_()) % n; }
  double around(double middle, double width) {
    return middle + width * (below(1001) / 1000.0 - 0.5) * 2;
  }
  Scene empty_scene(const Rgb& shown) {
    Scene scene{8, 8, {}, {}};
    if (below(2) == 0) scene = {10, 7, {}, {}};
    int distance = 0;
    while (distance <= 150) {
      scene.background = kBackgrounds[below(4)];
      distance = 0;
      for (size_t c = 0; c < 3; ++c) distance += std::abs(scene.background[c] - shown[c]);
    }
    return scene;
  }
  Mark in_cell(const char* shape, const Rgb& rgb, uint32_t x, uint32_t y) {
    return {shape, rgb, around(x + 0.5, 0.07), around(y + 0.5, 0.07), around(0.78, 0.13)};
  }

  /// Counts answers as they come.
  struct Score {
    uint32_t n = 0, n_right = 0;
    void add(const std::string& said, const std::string& expected) {
      ++n;
      n_right += said == expected ? 1 : 0;
      if (said != expected) std::printf("expected %s, said %s\n", expected.c_str(), said.c_str());
    }
  };

  void expect_pictures(uint32_t n_rounds);
  void expect_counts(uint32_t n_rounds);
  void expect_sounds(uint32_t n_rounds);

  TempFolder folder_;
  std::mt19937 random_{20261121};
  std::unique_ptr<Model> model_;
  std::unique_ptr<Session> session_;
};

void PebbleFilesTest::expect_pictures(uint32_t n_rounds) {
  Score colours, shapes;
  for (uint32_t i = 0; i < n_rounds; ++i) {
    for (const Colour& colour : kColours) {
      const char* shape = kShapes[below(5)];
      Scene scene = empty_scene(colour.rgb);
      scene.marks = {in_cell(shape, colour.rgb, below(scene.n_columns), below(scene.n_rows))};
      colours.add(ask_picture(scene, "What colour is it?"),
                  std::string("It is ") + colour.name + ".");
      shapes.add(ask_picture(scene, "What shape is it?"), std::string("It is a ") + shape + ".");
    }
  }
  EXPECT_GE(colours.n_right, 0.95 * colours.n);
  EXPECT_GE(shapes.n_right, 0.95 * shapes.n);
}

void PebbleFilesTest::expect_counts(uint32_t n_rounds) {
  Score score;
  for (uint32_t i = 0; i < n_rounds; ++i) {
    for (uint32_t n = 1; n <= 5; ++n) {
      const Colour& colour = kColours[below(std::size(kColours))];
      const char* shape = kShapes[below(5)];
      Scene scene = empty_scene(colour.rgb);
      for (uint32_t row = 0; scene.marks.size() < n; row = (row + 1) % scene.n_rows) {
        if (below(2) == 0) continue;
        const uint32_t column = (below(2) + 2 * static_cast<uint32_t>(scene.marks.size())) %
                                scene.n_columns;  // no two in one place
        scene.marks.push_back(in_cell(shape, colour.rgb, column, row));
      }
      score.add(ask_picture(scene, "How many shapes are there?"),
                std::string(kCounts[n - 1]) + ".");
    }
  }
  EXPECT_GE(score.n_right, 0.9 * score.n);
}

void PebbleFilesTest::expect_sounds(uint32_t n_rounds) {
  Score beeps, pitch;
  for (uint32_t i = 0; i < n_rounds; ++i) {
    for (uint32_t n = 1; n <= 5; ++n) {
      const bool is_high = below(2) == 0;
      const double hertz = is_high ? around(1400, 350) : around(250, 90);
      std::vector<Tone> tones{{around(0.1, 0.08), 0}};
      const double seconds = around(0.13, 0.03), apart = around(0.16, 0.03);
      for (uint32_t beep = 0; beep < n; ++beep) {
        if (beep > 0) tones.push_back({apart, 0});
        tones.push_back({seconds, hertz});
      }
      beeps.add(ask_sound(tones, "How many beeps are there?"), std::string(kCounts[n - 1]) + ".");
      const std::vector<Tone> tone{{0.1, 0}, {around(0.5, 0.2), hertz}, {0.1, 0}};
      pitch.add(ask_sound(tone, "Is it high or low?"), is_high ? "It is high." : "It is low.");
    }
  }
  EXPECT_GE(beeps.n_right, 0.95 * beeps.n);
  EXPECT_GE(pitch.n_right, 0.95 * pitch.n);
}

TEST_F(PebbleFilesTest, HeldOutPictures) { expect_pictures(5); }
TEST_F(PebbleFilesTest, HeldOutCounts) { expect_counts(8); }
TEST_F(PebbleFilesTest, HeldOutSounds) { expect_sounds(8); }
TEST_F(PebbleFilesTest, OneOfEachKind) {
  expect_pictures(1);
  expect_sounds(1);
}

/// The second turn about a picture reads what is new alone.
TEST_F(PebbleFilesTest, ASecondTurnKeepsThePicture) {
  Scene scene{8, 8, {0, 0, 0}, {{"circle", kColours[0].rgb, 3.5, 3.5, 0.8}}};
  const auto picture = read_picture(*model_, folder_.write("red.bmp", draw_bmp(scene)));
  ASSERT_TRUE(picture.ok()) << picture.error().message;
  std::vector<MediaMessage> turns{{Role::user, {*picture, "What colour is it?"}}};
  const auto first = encode_media_chat(*model_, turns);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(sync(*session_, *first).ok());
  turns.push_back({Role::model, {"It is red."}});
  turns.push_back({Role::user, {"What shape is it?"}});
  const auto second = encode_media_chat(*model_, turns);
  ASSERT_TRUE(second.ok());
  const auto read = sync(*session_, *second);
  ASSERT_TRUE(read.ok());
  EXPECT_GE(read->reused, 64u);
  // Another picture in the same place has the same tokens, and is not the same.
  scene.marks[0].rgb = kColours[2].rgb;
  const auto other = read_picture(*model_, folder_.write("blue.bmp", draw_bmp(scene)));
  ASSERT_TRUE(other.ok());
  turns[0].parts[0] = *other;
  const auto third = encode_media_chat(*model_, turns);
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(third->tokens(), second->tokens());
  const auto again = sync(*session_, *third);
  ASSERT_TRUE(again.ok());
  EXPECT_LT(again->reused, 64u);
}

}  // namespace
}  // namespace kimberlite::testing
