// What files of projectors with an encoder of sounds say, and which of them are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "altered_projector.hpp"
#include "model/projector_config.hpp"
#include "model_fixture.hpp"

namespace kimberlite::testing {
namespace {

using ::testing::HasSubstr;

std::string error(const Change& change) {
  return AlteredProjector(change, "tiny-e2b-sounds-projector").error();
}
Change with_vector(const std::string& name, std::vector<float> values) {
  return {.vectors = {{name, std::move(values)}}};
}

TEST(ConformerConfig, IsRead) {
  const AlteredProjector altered({}, "tiny-e2b-sounds-projector");
  EXPECT_EQ(altered.error(), "");
  const auto config = require_value(model::read_projector_config(altered.file()));
  EXPECT_FALSE(config.vision.has_value());
  ASSERT_TRUE(config.audio && config.audio->conformer);
  EXPECT_EQ(config.target_width, 256u);
  EXPECT_EQ(config.audio->projected_width(), 96u);
  const model::ConformerConfig& conformer = *config.audio->conformer;
  EXPECT_EQ(conformer.width, 64u);
  EXPECT_EQ(conformer.n_layers, 2u);
  EXPECT_EQ(conformer.head_dim(), 32u);
  EXPECT_EQ(conformer.ffn_width, 256u);
  EXPECT_EQ(conformer.channels, (std::array<uint32_t, 2>{128, 8}));
  EXPECT_EQ(conformer.n_input(), 256u);
}

TEST(ConformerConfig, ImpossibleSizesAreRefused) {
  EXPECT_THAT(error(with_text("clip.audio.projector_type", "gemma3na")),
              HasSubstr("clip.audio.projector_type is 'gemma3na', expected 'gemma4ua' or "
                        "'gemma4a'"));
  EXPECT_THAT(error(with_u32("audio.num_mel_bins", 80)),
              HasSubstr("clip.audio.num_mel_bins: is 80, expected 128"));
  EXPECT_THAT(error(with_u32("audio.attention.head_count", 0)),
              HasSubstr("clip.audio.attention.head_count: is 0"));
  EXPECT_THAT(error(with_u32("audio.attention.head_count", 3)),
              HasSubstr("is 3: rows of 64 values make no heads of a multiple of 4"));
  EXPECT_THAT(error(with_u32("audio.attention.head_count", 32)), HasSubstr("make no heads"));
  EXPECT_THAT(error(with_u32("audio.block_count", 4000000000u)), HasSubstr("up to 256"));
  EXPECT_THAT(error(with_u32("audio.block_count", 3)),
              HasSubstr("no tensor a.blk.2.ffn_norm.weight"));
  EXPECT_THAT(error(with_u32("audio.feed_forward_length", 0)),
              HasSubstr("clip.audio.feed_forward_length: is 0"));
  EXPECT_THAT(error(with_u32("audio.feed_forward_length", 288)),
              HasSubstr("a.blk.0.ffn_up.weight: expected [288, 64], file has [256, 64]"));
  EXPECT_THAT(error(with_u32("audio.embedding_length", 4000000000u)),
              HasSubstr("clip.audio.embedding_length: is 4000000000"));
  EXPECT_THAT(error(with_u32("audio.embedding_length", 96)),
              HasSubstr("a.input_projection.weight: expected [96, 256], file has [64, 256]"));
  EXPECT_THAT(error(with_u32("audio.projection_dim", 97)),
              HasSubstr("is 97, expected a multiple of 32"));
  EXPECT_THAT(error(with_vector("a.conv1d.1.norm.weight", std::vector<float>(12))),
              HasSubstr("a.conv1d.1.weight: expected [12, 128, 3, 3], file has [8, 128, 3, 3]"));
  EXPECT_THAT(
      error(with_vector("a.conv1d.0.norm.weight", std::vector<float>(2048))),
      HasSubstr("a.conv1d.0.norm.weight has 2048 rows, expected a multiple of 4 up to 256"));
}

TEST(ConformerConfig, EveryTensorIsNeeded) {
  for (const char* name :
       {"a.conv1d.0.weight", "a.conv1d.1.norm.weight", "a.input_projection.weight",
        "a.blk.1.ffn_post_norm_1.weight", "a.blk.0.attn_k_rel.weight",
        "a.blk.1.per_dim_scale.weight", "a.blk.0.conv_dw.weight", "a.blk.1.norm_conv.weight",
        "a.blk.0.conv_pw2.weight", "a.blk.1.ln2.weight", "a.pre_encode.out.weight",
        "a.pre_encode.out.bias", "mm.a.input_projection.weight"}) {
    EXPECT_THAT(error({.dropped_tensor = name}), HasSubstr(name));
  }
}

/// They would change the result.
TEST(ConformerConfig, TensorsOfOtherEncodersAreRefused) {
  EXPECT_THAT(error(with_vector("a.conv1d.0.bias", std::vector<float>(128))),
              HasSubstr("a.conv1d.0.bias: not a tensor that the gemma4a of Gemma 4 has"));
  for (const char* name : {"a.blk.1.per_dim_k_scale.weight", "a.blk.0.conv_dw.bias",
                           "mm.a.soft_emb_norm.weight", "a.input_projection.bias"}) {
    EXPECT_THAT(error(with_vector(name, {1, 1, 1, 1})), HasSubstr(name));
  }
}

TEST(ConformerConfig, BoundsMayBeMissingButNotAbsurd) {
  EXPECT_EQ(error({.dropped_tensor = "a.blk.1.attn_q.input_min"}), "");
  EXPECT_THAT(error(with_vector("a.blk.1.conv_pw1.output_max", {std::nanf("")})),
              HasSubstr("a.blk.1.conv_pw1.output_max: is nan, expected a bound"));
  EXPECT_THAT(error(with_vector("a.blk.1.ffn_up_1.input_min", {7})),
              HasSubstr("a.blk.1.ffn_up_1.input_min is 7, above"));
}

}  // namespace
}  // namespace kimberlite::testing
