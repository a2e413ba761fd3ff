// Files that went from a checkpoint through `convert` and `quantize`, in the engine: their logits
// are those of the official implementation with the same weights. What is in the files is checked
// by tests/synthetic/checkpoint_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "formats/convert.hpp"
#include "formats/quantize_file.hpp"
#include "model_fixture.hpp"
#include "support/golden.hpp"
#include "support/tiny_checkpoint.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::testing {
namespace {

class ConvertedTest : public ::testing::TestWithParam<const char*> {
 protected:
  /// The checkpoint as GGUF in f32.
  std::string convert() {
    const std::string checkpoint = folder_.file("checkpoint");
    std::filesystem::create_directory(checkpoint);
    require_ok(write_tiny_checkpoint(shape_, golden_.seed, checkpoint));
    formats::ConvertOptions options;
    options.type = formats::GgmlType::f32;
    require_value(formats::convert(checkpoint, folder_.file("f32.gguf"), options));
    return folder_.file("f32.gguf");
  }
  TinyModel quantize(const std::string& path, std::string_view recipe) {
    formats::QuantizeOptions options;
    options.recipe = formats::find_recipe(recipe);
    const std::string out = path + "." + std::string(recipe);
    require_value(formats::quantize(path, out, options));
    return TinyModel(out, precise());
  }
  /// Of the first kTokens of the golden's prompt, [kTokens, vocab].
  std::vector<float> logits(TinyModel& model) {
    DecoderRun run(model, kernels::KvType::f32);
    std::vector<float> all;
    for (uint32_t i = 0; i < kTokens; ++i) {
      const auto row = run.columns({golden_.tokens[i]}, i);
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }

  static constexpr uint32_t kTokens = 25;  // one beyond the largest window
  Golden golden_ = require_value(Golden::load(GetParam()));
  synthetic::ModelShape shape_ = synthetic::find_shape(GetParam()).value();
  TempFolder folder_;
};

/// The bound is that of golden_test.cpp: the weights are the reference's bit for bit.
TEST_P(ConvertedTest, Q8LogitsAreTheReferences) {
  TinyModel model = quantize(convert(), "q8_0");
  const std::vector<float> all = logits(model);
  size_t n_compared = 0;
  for (size_t row = 0; row < golden_.positions.size(); ++row) {
    if (golden_.positions[row] >= kTokens) continue;
    const auto first = all.begin() + static_cast<long>(golden_.positions[row] * golden_.n_vocab);
    const std::vector<float> got(first, first + static_cast<long>(golden_.n_vocab));
    ASSERT_LE(max_difference(got, golden_.typed_logits("q8_0").row(row)), 1e-3) << row;
    ++n_compared;
  }
  EXPECT_EQ(n_compared, 3u);
}

/// K types have no reference for values that went through a quantiser, but the same model written
/// as GGUF at once has to compute the same.
class ConvertedPresetTest : public ConvertedTest {};

TEST_P(ConvertedPresetTest, ComputesWhatItDoesWithoutTheCheckpoint) {
  const std::string direct = folder_.file("direct.gguf");
  require_ok(synthetic::write_model(shape_, golden_.seed, formats::GgmlType::f32, direct));
  TinyModel from_checkpoint = quantize(convert(), "q4_k_m");
  TinyModel from_gguf = quantize(direct, "q4_k_m");
  EXPECT_EQ(logits(from_checkpoint), logits(from_gguf));
}

INSTANTIATE_TEST_SUITE_P(Models, ConvertedTest,
                         ::testing::Values("tiny12", "tiny31", "tiny-e2b", "tiny-e4b", "tiny26"),
                         golden_test_name);
INSTANTIATE_TEST_SUITE_P(Models, ConvertedPresetTest, ::testing::Values("tiny26"),
                         golden_test_name);

}  // namespace
}  // namespace kimberlite::testing
