// What projectors' files say, which of them are refused, and which target each is for.
#include "model/projector_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "altered_projector.hpp"
#include "media_fixture.hpp"
#include "runtime/projector.hpp"

namespace kimberlite::testing {
namespace {

using ::testing::HasSubstr;

TEST(ProjectorConfig, BothModalitiesAreRead) {
  const AlteredProjector altered({});
  const auto config = require_value(model::read_projector_config(altered.file()));
  EXPECT_TRUE(model::is_projector(altered.file()));
  EXPECT_EQ(config.target_width, 96u);
  ASSERT_TRUE(config.vision && config.audio);
  EXPECT_EQ(config.vision->width, 64u);
  EXPECT_EQ(config.vision->side, 48u);
  EXPECT_EQ(config.vision->n_values(), 6912u);
  EXPECT_EQ(config.vision->n_positions, 24u);
  EXPECT_EQ(altered.error(), "");
}

TEST(ProjectorConfig, EitherModalityIsEnough) {
  Change sound = with_flag("has_vision_encoder", false);
  sound.dropped_tensor = "v.position_embd.weight";
  const AlteredProjector only_sound(sound);
  EXPECT_EQ(only_sound.error(), "");
  EXPECT_FALSE(require_value(model::read_projector_config(only_sound.file())).vision.has_value());
  Change picture = with_flag("has_audio_encoder", false);
  picture.dropped_key = "clip.vision.projector_type";
  EXPECT_THAT(AlteredProjector(picture).error(), HasSubstr("clip.projector_type"));
  picture.keys = [](formats::GgufWriter& writer) {
    writer.set_bool("clip.has_audio_encoder", false);
    writer.set_string("clip.projector_type", "gemma4uv");
  };
  EXPECT_EQ(AlteredProjector(picture).error(), "");
  Change none = with_flag("has_vision_encoder", false);
  none.dropped_key = "clip.has_audio_encoder";
  EXPECT_THAT(AlteredProjector(none).error(), HasSubstr("neither"));
}

TEST(ProjectorConfig, RefusesWhatDoesNotFit) {
  const auto error = [](const Change& change) { return AlteredProjector(change).error(); };
  EXPECT_THAT(error(with_text("general.architecture", "gemma4")),
              HasSubstr("general.architecture is 'gemma4', expected 'clip'"));
  EXPECT_THAT(
      error(with_text("clip.vision.projector_type", "gemma3")),
      HasSubstr("clip.vision.projector_type is 'gemma3', expected 'gemma4uv' or 'gemma4v'"));
  EXPECT_THAT(error(with_text("clip.audio.projector_type", "gemma4a")),
              HasSubstr("clip.audio.feed_forward_length: is 0"));
  EXPECT_THAT(error(with_u32("audio.projection_dim", 128)),
              HasSubstr("clip.audio.projection_dim: is 128, but that of vision is 96"));
  EXPECT_THAT(error(with_u32("vision.projection_dim", 97)),
              HasSubstr("is 97, expected a multiple of 32"));
  EXPECT_THAT(error(with_u32("vision.embedding_length", 96)),
              HasSubstr("v.patch_embd.weight: expected [96, 6912], file has [64, 6912]"));
  EXPECT_THAT(error(with_u32("vision.patch_size", 32)),
              HasSubstr("v.patch_norm.1.weight: expected [27648], file has [6912]"));
  EXPECT_THAT(error(with_u32("vision.projector.scale_factor", 0)), HasSubstr("scale_factor"));
  EXPECT_THAT(error({.keys =
                         [](formats::GgufWriter& writer) {
                           const float mean[] = {0.5f, 0.5f, 0.5f};
                           writer.set_array("clip.vision.image_mean", std::span<const float>(mean));
                         }}),
              HasSubstr("clip.vision.image_mean[0] is 0.5, expected 0"));
  for (const char* name : {"v.patch_embd.bias", "v.position_embd.weight", "v.patch_norm.3.bias",
                           "mm.input_projection.weight", "mm.a.input_projection.weight"}) {
    EXPECT_THAT(error({.dropped_tensor = name}), HasSubstr(name));
  }
}

TEST(ProjectorConfig, IsForATargetOfItsWidth) {
  const std::string path = write_tiny_projector(1, formats::GgmlType::f16);
  model::ModelConfig target;
  target.name = "wide";
  target.width = 96;
  EXPECT_TRUE(runtime::Projector::open(path, target).ok());
  target.width = 160;
  const auto refused = runtime::Projector::open(path, target);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message,
              HasSubstr("is not one for 'wide': width of embeddings is 96 there and 160 here"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace kimberlite::testing
