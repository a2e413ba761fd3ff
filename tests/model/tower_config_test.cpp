// What files of projectors with an encoder of pictures say, and which of them are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "altered_projector.hpp"
#include "model/projector_config.hpp"
#include "model_fixture.hpp"

namespace kimberlite::testing {
namespace {

using ::testing::HasSubstr;

std::string error(const Change& change, std::string_view shape = "tiny-e2b-projector") {
  return AlteredProjector(change, shape).error();
}
std::string error_26(const Change& change) { return error(change, "tiny26-projector"); }

Change without(const std::string& tensor) { return {.dropped_tensor = tensor}; }
Change with_bound(const std::string& name, float value) { return {.vectors = {{name, {value}}}}; }

TEST(TowerConfig, IsRead) {
  for (const auto& [shape, width, n_layers, head_dim, standardises] :
       {std::tuple{"tiny-e2b-projector", 128u, 2u, 64u, false},
        std::tuple{"tiny26-projector", 144u, 3u, 72u, true}}) {
    const AlteredProjector altered({}, shape);
    EXPECT_EQ(altered.error(), "");
    const auto config = require_value(model::read_projector_config(altered.file()));
    EXPECT_FALSE(config.audio.has_value());
    ASSERT_TRUE(config.vision && config.vision->tower);
    EXPECT_EQ(config.target_width, 256u);
    EXPECT_EQ(config.vision->width, width);
    EXPECT_EQ(config.vision->side, 48u);
    EXPECT_EQ(config.vision->n_positions, 12u);  // of tokens
    EXPECT_EQ(config.vision->n_tokens, 280u);
    const model::TowerConfig& tower = *config.vision->tower;
    EXPECT_EQ(tower.n_positions, 36u);
    EXPECT_EQ(tower.n_layers, n_layers);
    EXPECT_EQ(tower.n_heads, 2u);
    EXPECT_EQ(tower.head_dim, head_dim);
    EXPECT_EQ(tower.n_patch_values(), 768u);
    EXPECT_EQ(tower.standardises, standardises);
  }
}

TEST(TowerConfig, ImpossibleSizesAreRefused) {
  EXPECT_THAT(error(with_u32("vision.attention.head_count", 0)),
              HasSubstr("clip.vision.attention.head_count: is 0"));
  EXPECT_THAT(error(with_u32("vision.attention.head_count", 3)),
              HasSubstr("is 3: 128 values make no heads of a multiple of 4 up to 128"));
  EXPECT_THAT(error_26(with_u32("vision.attention.head_count", 1)),
              HasSubstr("is 1: 144 values make no heads of a multiple of 4 up to 128"));
  EXPECT_THAT(error(with_u32("vision.block_count", 0)), HasSubstr("clip.vision.block_count: is 0"));
  EXPECT_THAT(error(with_u32("vision.block_count", 4000000000u)), HasSubstr("up to 256"));
  EXPECT_THAT(error(with_u32("vision.block_count", 3)), HasSubstr("no tensor v.blk.2.ln1.weight"));
  EXPECT_THAT(error(with_u32("vision.feed_forward_length", 225)),
              HasSubstr("clip.vision.feed_forward_length: is 225, expected a multiple of 4"));
  EXPECT_THAT(error(with_u32("vision.feed_forward_length", 228)),
              HasSubstr("v.blk.0.ffn_gate.weight: expected [228, 128], file has [224, 128]"));
  EXPECT_THAT(error(with_u32("vision.embedding_length", 130)),
              HasSubstr("is 130, expected a multiple of 4"));
  EXPECT_THAT(error(with_u32("vision.embedding_length", 256)),
              HasSubstr("v.patch_embd.weight: expected [256, 3, 16, 16], file has [128, 3, 16, "
                        "16]"));
  EXPECT_THAT(error(with_u32("vision.patch_size", 8)), HasSubstr("no multiple of 16"));
  EXPECT_THAT(error(with_u32("vision.projector.scale_factor", 0)), HasSubstr("scale_factor"));
  EXPECT_THAT(error(with_u32("vision.projector.scale_factor", 4000000000u)),
              HasSubstr("scale_factor"));
  EXPECT_THAT(error({.dropped_key = "clip.vision.attention.layer_norm_epsilon"}),
              HasSubstr("clip.vision.attention.layer_norm_epsilon"));
  EXPECT_THAT(error({.keys =
                         [](formats::GgufWriter& writer) {
                           const float mean[] = {0.5f, 0.5f, 0.5f};
                           writer.set_array("clip.vision.image_mean", std::span<const float>(mean));
                         }}),
              HasSubstr("clip.vision.image_mean[0] is 0.5, expected 0"));
}

TEST(TowerConfig, EveryTensorIsNeeded) {
  for (const char* name :
       {"v.patch_embd.weight", "v.position_embd.weight", "v.blk.1.attn_q.weight",
        "v.blk.1.attn_k_norm.weight", "v.blk.0.attn_post_norm.weight", "v.blk.0.ffn_down.weight",
        "v.blk.1.ffn_post_norm.weight", "mm.input_projection.weight"}) {
    EXPECT_THAT(error(without(name)), HasSubstr(name));
    EXPECT_THAT(error_26(without(name)), HasSubstr(name));
  }
  for (const char* name : {"v.std_bias", "v.std_scale"}) {
    EXPECT_THAT(error_26(without(name)), HasSubstr(name));
  }
}

TEST(TowerConfig, BoundsMayBeMissingButNotAbsurd) {
  EXPECT_EQ(error(without("v.blk.1.attn_q.input_min")), "");
  EXPECT_EQ(error(with_bound("v.blk.1.attn_q.input_min", -std::numeric_limits<float>::infinity())),
            "");
  EXPECT_THAT(error(with_bound("v.blk.1.ffn_up.output_max", std::nanf(""))),
              HasSubstr("v.blk.1.ffn_up.output_max: is nan, expected a bound"));
  EXPECT_THAT(error(with_bound("v.blk.1.attn_q.input_min", 7)),
              HasSubstr("v.blk.1.attn_q.input_min is 7, above v.blk.1.attn_q.input_max, which is"));
  EXPECT_THAT(error({.vectors = {{"v.blk.0.attn_out.output_min", {-1, -1}}}}),
              HasSubstr("v.blk.0.attn_out.output_min: expected [1], file has [2]"));
}

TEST(TowerConfig, ScaledLayersAreRefused) {
  EXPECT_THAT(error({.vectors = {{"v.blk.1.out_scale.weight", {1}}}}),
              HasSubstr("v.blk.1.out_scale.weight: layers with a scale are not supported"));
}

}  // namespace
}  // namespace kimberlite::testing
