// Projectors against the official implementation: embeddings of pictures and sounds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "media_fixture.hpp"
#include "synthetic/projector_file.hpp"

namespace kimberlite::testing {
namespace {

class ProjectorTest : public ::testing::Test {
 protected:
  ~ProjectorTest() override {
    for (const std::string& path : paths_) std::filesystem::remove(path);
  }
  std::string write(formats::GgmlType type) {
    return paths_.emplace_back(write_tiny_projector(golden_.header.at("projector_seed"), type));
  }
  std::unique_ptr<TinyModel> open(formats::GgmlType type) {
    return std::make_unique<TinyModel>("tiny12", golden_.header.at("seed"), formats::GgmlType::f32,
                                       with_projector(precise(), write(type)));
  }

  const Golden golden_ = require_value(Golden::load("tiny12-media"));
  std::vector<std::string> paths_;
};

TEST_F(ProjectorTest, EmbeddingsAgree) {
  const auto model = open(formats::GgmlType::f32);
  double worst = 0;
  for (const MediaPrompt& prompt : media_prompts(golden_)) {
    for (const nlohmann::json& run : prompt.runs) {
      const std::string name = run.at("name");
      const auto soft = embed_run(model->engine(), golden_, run);
      const double difference =
          relative_difference(soft->rows, golden_.array("embeddings." + name));
      EXPECT_LE(difference, 1e-5) << name;
      EXPECT_EQ(soft->is_block, run.contains("columns")) << name;
      worst = std::max(worst, difference);
    }
  }
  RecordProperty("relative_difference", fmt::format("{:.1e}", worst));
}

/// The golden has the values that the types stand for, so the bound is that of float32.
TEST_F(ProjectorTest, EmbeddingsOfEveryTypeAgree) {
  for (const formats::GgmlType type :
       {formats::GgmlType::f16, formats::GgmlType::bf16, formats::GgmlType::q8_0}) {
    const std::string kind(formats::traits(type).name);
    const auto model = open(type);
    for (const MediaPrompt& prompt : media_prompts(golden_)) {
      for (const nlohmann::json& run : prompt.runs) {
        const std::string key =
            fmt::format("embeddings.{}.{}", run.at("name").get<std::string>(), kind);
        if (!golden_.arrays.contains(key)) continue;
        const auto soft = embed_run(model->engine(), golden_, run);
        EXPECT_LE(relative_difference(soft->rows, golden_.array(key)), 1e-5) << key;
      }
    }
  }
}

/// More patches than one pass takes: each row from its own patch and place.
TEST_F(ProjectorTest, LargePicturesTakeSeveralPasses) {
  const auto model = open(formats::GgmlType::f32);
  using Shape = synthetic::ProjectorShape;
  const std::vector<float> patches =
      synthetic::make_media(1, "large", uint64_t{24} * 13 * Shape::kPatchValues, /*sound=*/false);
  const auto embed = [&](uint32_t n_y) {
    const auto values = std::span(patches).first(uint64_t{24} * n_y * Shape::kPatchValues);
    return require_value(model->engine().media().embed_picture(24, n_y, values))->rows;
  };
  const std::vector<float> large = embed(13);
  const std::vector<float> small = embed(11);  // 8 patches in its second pass
  EXPECT_LE(max_difference({large.begin(), large.begin() + std::ssize(small)}, small), 1e-4);
}

}  // namespace
}  // namespace kimberlite::testing
