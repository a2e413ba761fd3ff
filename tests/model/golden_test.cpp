// The decoder against the official implementation on tiny models with the real structure.
#include "support/golden.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/kv_layout.hpp"
#include "model/decoder.hpp"
#include "model_fixture.hpp"
#include "plan/devices.hpp"
#include "runtime/session.hpp"
#include "vk/plan.hpp"

namespace kimberlite::testing {
namespace {

constexpr const char* kModels[] = {"tiny12",   "tiny12-odd", "tiny12-k", "tiny31",
                                   "tiny-e2b", "tiny-e4b",   "tiny26"};

/// Layers, embedding.
constexpr std::pair<formats::GgmlType, formats::GgmlType> kTypes[] = {
    {formats::GgmlType::f16, formats::GgmlType::f16},
    {formats::GgmlType::bf16, formats::GgmlType::bf16},
    {formats::GgmlType::q8_0, formats::GgmlType::q8_0},
    {formats::GgmlType::q4_0, formats::GgmlType::q4_0},
    {formats::GgmlType::q4_k, formats::GgmlType::q6_k},
    {formats::GgmlType::q6_k, formats::GgmlType::q6_k}};

class GoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  Golden golden_ = require_value(Golden::load(GetParam()));
};

TEST_P(GoldenTest, LogitsAtEveryPositionAgree) {
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  DecoderRun run(model, kernels::KvType::f32);
  for (size_t position = 0; position < golden_.tokens.size(); ++position) {
    const auto logits = run.columns({golden_.tokens[position]}, static_cast<uint32_t>(position));
    ASSERT_LE(max_difference(logits, golden_.logits().row(position)), 1e-3) << position;
  }
}

TEST_P(GoldenTest, GreedyTokensAgree) {
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  const auto session = require_value(runtime::Session::make(model.engine(), 128, std::nullopt));
  require_value(session->sync(golden_.tokens, {}));
  const auto request = greedy(static_cast<uint32_t>(golden_.greedy.size()));
  EXPECT_EQ(require_value(session->generate(request, {})).tokens, golden_.greedy);
}

TEST_P(GoldenTest, HiddenStatesOfEveryLayerAgree) {
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  DecoderRun run(model, kernels::KvType::f32);
  const uint32_t n_layers = model.engine().config().n_layers;
  for (size_t i = 0; i < golden_.tokens.size(); ++i) {
    const auto at = std::find(golden_.positions.begin(), golden_.positions.end(), i);
    const auto position = static_cast<uint32_t>(i);
    if (at != golden_.positions.end()) {
      const auto row = static_cast<size_t>(at - golden_.positions.begin());
      for (uint32_t n = 0; n <= n_layers; ++n) {
        const auto residual = run.residual({golden_.tokens[i]}, position, n);
        ASSERT_LE(max_difference(residual, golden_.hidden().row(n, row)), 1e-3) << i << " " << n;
      }
    }
    run.columns({golden_.tokens[i]}, position);
  }
}

/// Weights of another type, their exact values in the reference: the products alone differ from
/// float32 ones, by their order, so the bound is that of the float32 goldens.
TEST_P(GoldenTest, LogitsOfEveryWeightTypeAgree) {
  for (const auto& [type, embedding] : kTypes) {
    const std::string name(formats::traits(type).name);
    if (!golden_.arrays.contains("logits." + name)) continue;
    SCOPED_TRACE(name);
    TinyModel model(GetParam(), golden_.seed, {type, embedding}, precise());
    DecoderRun run(model, kernels::KvType::f32);
    for (size_t i = 0; i < golden_.tokens.size(); ++i) {
      const auto logits = run.columns({golden_.tokens[i]}, static_cast<uint32_t>(i));
      const auto at = std::find(golden_.positions.begin(), golden_.positions.end(), i);
      if (at == golden_.positions.end()) continue;
      const auto row = static_cast<size_t>(at - golden_.positions.begin());
      ASSERT_LE(max_difference(logits, golden_.typed_logits(name).row(row)), 1e-3) << i;
    }
  }
}

class PerLayerGoldenTest : public GoldenTest {};

TEST_P(PerLayerGoldenTest, InputsOfEveryLayerAgree) {
  const GoldenArray& golden = golden_.array("per_layer_inputs");
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  DecoderRun run(model, kernels::KvType::f32);
  run.keep({"per_layer"});
  double worst = 0;
  for (size_t row = 0; row < golden_.positions.size(); ++row) {
    const size_t position = golden_.positions[row];
    run.residual({golden_.tokens[position]}, static_cast<uint32_t>(position), 0);
    std::vector<float> expected;  // [n_layers, width] of the column
    for (size_t layer = 0; layer < golden.shape[0]; ++layer) {
      const std::vector<float> part = golden.row(layer, row);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    worst = std::max(worst, max_difference(run.kept<float>("per_layer"), expected));
  }
  RecordProperty("max_difference", fmt::format("{:.1e}", worst));
  EXPECT_LE(worst, 1e-4);
}

class RouterGoldenTest : public GoldenTest {
 protected:
  static std::string name(size_t layer, const char* what) {
    return fmt::format("blk.{}.experts.{}", layer, what);
  }
};

TEST_P(RouterGoldenTest, ChoicesAndWeightsOfEveryLayerAgree) {
  const GoldenArray& experts = golden_.array("router.experts");
  const GoldenArray& weights = golden_.array("router.weights");
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  DecoderRun run(model, kernels::KvType::f32);
  std::vector<std::string> names;
  for (size_t layer = 0; layer < experts.shape[0]; ++layer) {
    names.insert(names.end(), {name(layer, "experts"), name(layer, "weights")});
  }
  run.keep(names);
  double worst = 0;
  size_t row = 0;
  for (uint32_t i = 0; i <= golden_.positions.back(); ++i) {
    run.columns({golden_.tokens[i]}, i);
    if (golden_.positions[row] != i) continue;
    for (size_t layer = 0; layer < experts.shape[0]; ++layer) {
      const auto chosen = run.kept<uint32_t>(name(layer, "experts"));
      // By falling probability in both; small integers are exact in float32.
      EXPECT_EQ(std::vector<float>(chosen.begin(), chosen.end()), experts.row(layer, row))
          << "layer " << layer << ", position " << i;
      const auto got = run.kept<float>(name(layer, "weights"));
      worst = std::max(worst, max_difference(got, weights.row(layer, row)));
    }
    ++row;
  }
  EXPECT_EQ(row, golden_.positions.size());
  RecordProperty("max_difference", fmt::format("{:.1e}", worst));
  EXPECT_LE(worst, 1e-4);
}

/// Whatever stands between two products is part of one of them or of a norm: here and on a GPU,
/// which splits the keys of every layer over workgroups.
TEST_P(GoldenTest, ALayerTakesFewDispatches) {
  const auto gpu = vk::plan_device(vk::load_device("h100"));
  ASSERT_TRUE(gpu.ok()) << gpu.error().message;
  for (const bool is_precise : {true, false}) {
    TinyModel model(GetParam(), golden_.seed, formats::GgmlType::q4_0,
                    is_precise ? precise() : runtime::EngineOptions{});
    const model::ModelConfig& config = model.engine().config();
    DecoderRun run(model, kernels::KvType::f16);
    // Products, RoPE and attention, norms; two products of experts; what per-layer inputs need.
    uint32_t n = 8;
    if (config.experts.n != 0) n = 10;
    if (config.per_layer_width != 0) n = 12;
    for (const vk::Caps& caps : {model.engine().device().caps(), gpu->caps}) {
      for (uint32_t i = 0; i < config.n_layers; ++i) {
        EXPECT_EQ(run.n_dispatches(i + 1, caps) - run.n_dispatches(i, caps), n)
            << "layer " << i << (caps.is_cpu ? "" : " on a GPU");
      }
    }
  }
}

/// Promise 1 rests on this: a pass of n columns is n passes of one, bit for bit, cache included.
TEST_P(GoldenTest, ColumnsEqualSinglePasses) {
  for (const bool is_precise : {true, false}) {
    TinyModel model(GetParam(), golden_.seed, formats::GgmlType::q4_0,
                    is_precise ? precise() : runtime::EngineOptions{});
    const auto type = is_precise ? kernels::KvType::f32 : kernels::KvType::f16;
    DecoderRun single(model, type);
    std::vector<std::vector<float>> expected;
    for (uint32_t i = 0; i < 36; ++i) expected.push_back(single.columns({golden_.tokens[i]}, i));
    DecoderRun together(model, type);
    uint32_t position = 0;
    for (uint32_t n = 1; n <= 8; ++n) {
      const auto first = golden_.tokens.begin() + position;
      const auto logits = together.columns({first, first + n}, position);
      for (uint32_t i = 0; i < n; ++i) {
        const auto row = logits.begin() + i * static_cast<long>(golden_.n_vocab);
        ASSERT_TRUE(std::equal(expected[position + i].begin(), expected[position + i].end(), row))
            << "column " << i << " of " << n;
      }
      position += n;
    }
    EXPECT_TRUE(single.cache_bytes() == together.cache_bytes()) << "the caches differ";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, ::testing::ValuesIn(kModels), golden_test_name);
INSTANTIATE_TEST_SUITE_P(Models, PerLayerGoldenTest, ::testing::Values("tiny-e2b", "tiny-e4b"),
                         golden_test_name);
INSTANTIATE_TEST_SUITE_P(Models, RouterGoldenTest, ::testing::Values("tiny26"), golden_test_name);

}  // namespace
}  // namespace kimberlite::testing
