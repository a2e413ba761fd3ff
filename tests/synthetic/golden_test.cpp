// The golden files are whole, well conditioned, and about the shapes that C++ writes.
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "synthetic/hash_weights.hpp"
#include "synthetic/shapes.hpp"

namespace kimberlite::synthetic {
namespace {

using testing::Golden;
using testing::GoldenArray;

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenModel() : golden_(Golden::load(GetParam())) {}
  void SetUp() override { ASSERT_TRUE(golden_.ok()) << golden_.error().message; }

  Result<Golden> golden_;
};

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenModel,
                         ::testing::Values("tiny12", "tiny12-odd", "tiny12-k", "tiny31", "tiny-e2b",
                                           "tiny-e4b", "tiny26"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(GoldenModel, ShapeIsTheOneOfThisName) {
  const auto shape = find_shape(GetParam());
  ASSERT_TRUE(shape.has_value());
  const nlohmann::json expected = {
      {"name", shape->name},
      {"n_layers", shape->n_layers},
      {"hidden", shape->hidden},
      {"ffn", shape->ffn},
      {"n_heads", shape->n_heads},
      {"n_kv_sliding", shape->n_kv_sliding},
      {"n_kv_full", shape->n_kv_full},
      {"vocab", shape->vocab},
      {"window", shape->window},
      {"head_dim_sliding", shape->head_dim_sliding},
      {"head_dim_full", shape->head_dim_full},
      {"full_period", shape->full_period},
      {"context", shape->context},
      {"rope_theta_sliding", shape->rope_theta_sliding},
      {"rope_theta_full", shape->rope_theta_full},
      {"partial_rotary", shape->partial_rotary},
      {"softcap", shape->softcap},
      {"k_is_v", shape->k_is_v},
      {"n_shared_kv", shape->n_shared_kv},
      {"double_wide", shape->double_wide},
      {"per_layer", shape->per_layer},
      {"n_experts", shape->n_experts},
      {"n_experts_used", shape->n_experts_used},
      {"expert_ffn", shape->expert_ffn},
  };
  // What a dense model leaves at its default is not listed.
  nlohmann::json actual = {{"k_is_v", true}, {"n_shared_kv", 0}, {"double_wide", false},
                           {"per_layer", 0}, {"n_experts", 0},   {"n_experts_used", 0},
                           {"expert_ffn", 0}};
  actual.update(golden_->header.at("shape"));
  EXPECT_EQ(actual.at("eps").get<float>(), shape->eps);
  actual.erase("eps");  // 1e-6 as a double is not the float
  EXPECT_EQ(actual, expected);
}

TEST_P(GoldenModel, ArraysHaveTheDocumentedShapes) {
  const Golden& golden = *golden_;
  const auto shape = find_shape(GetParam()).value();
  using Extents = std::vector<size_t>;
  EXPECT_EQ(golden.logits().shape, (Extents{golden.tokens.size(), shape.vocab}));
  EXPECT_EQ(golden.hidden().shape,
            (Extents{shape.n_layers + 2u, golden.positions.size(), shape.hidden}));
  EXPECT_EQ(golden.last_logits().shape, (Extents{shape.vocab}));
  std::vector<std::string_view> types{"f16", "bf16", "q8_0", "q4_0"};
  if (shape.hidden % 256 == 0) types.insert(types.end(), {"q4_k", "q6_k"});
  for (const std::string_view type : types) {
    EXPECT_EQ(golden.typed_logits(type).shape, (Extents{golden.positions.size(), shape.vocab}));
  }
  const auto per_layer = [&](size_t n) {
    return Extents{shape.n_layers, golden.positions.size(), n};
  };
  if (shape.per_layer != 0) {
    EXPECT_EQ(golden.array("per_layer_inputs").shape, per_layer(shape.per_layer));
  }
  if (shape.n_experts != 0) {
    EXPECT_EQ(golden.array("router.experts").shape, per_layer(shape.n_experts_used));
    EXPECT_EQ(golden.array("router.weights").shape, per_layer(shape.n_experts_used));
  }
  for (const auto& [name, array] : golden.arrays) {
    EXPECT_TRUE(std::ranges::all_of(array.values, [](double v) { return std::isfinite(v); }))
        << name;
  }
}

TEST_P(GoldenModel, GreedyTextIsDecidedAndReachesBeyondTheWindow) {
  const Golden& golden = *golden_;
  const auto shape = find_shape(GetParam()).value();
  EXPECT_GT(golden.tokens.size(), shape.window);
  EXPECT_EQ(golden.tokens.front(), 2);
  EXPECT_EQ(golden.greedy.size(), 64u);
  EXPECT_GT(golden.min_margin, 0.05f);
  const auto best = [](const std::vector<float>& row) {
    return std::ranges::max_element(row) - row.begin();
  };
  EXPECT_EQ(best(golden.logits().row(golden.tokens.size() - 1)), golden.greedy.front());
  EXPECT_EQ(best({golden.last_logits().values.begin(), golden.last_logits().values.end()}),
            golden.greedy.back());
}

TEST_P(GoldenModel, PromptIsTheHashStream) {
  const Golden& golden = *golden_;
  const HashStream stream(golden.seed, "prompt");
  for (size_t i = 1; i < golden.tokens.size(); ++i) {
    EXPECT_EQ(golden.tokens[i], static_cast<int32_t>((stream.word(i) >> 40) % golden.n_vocab));
  }
}

/// Mistakes that a model of this shape must show, of those that its golden records.
std::vector<std::string> mistakes_of(const ModelShape& shape) {
  std::vector<std::string> names{"drop layer scalar 0", "window - 1",        "window + 1",
                                 "swap the RoPE kinds", "skip v-norm",       "eps 1e-5",
                                 "no softcap",          "no embedding scale"};
  const auto add = [&](std::initializer_list<std::string> more) {
    names.insert(names.end(), more.begin(), more.end());
  };
  if (shape.n_kv_sliding > 1) add({"kv head i % n_kv"});
  if (shape.n_shared_kv != 0) add({"sliding KV of the layer before the donor"});
  if (shape.n_shared_kv != 0 && !shape.double_wide) add({"full KV of the layer before the donor"});
  if (shape.double_wide) add({"double-wide tail ignored"});
  if (shape.per_layer != 0) {
    add({"per-layer inputs of the next layer", "per-layer inputs without 1/sqrt(2)",
         "no per-layer embedding scale", "no per-layer projection norm",
         "per-layer projection norm over all layers", "per-layer gate of the normed residual",
         "per-layer block after the scalar"});
  }
  if (shape.n_experts != 0) {
    add({"experts counted from 1", "weights in reverse order", "one expert fewer",
         "weights not normalised over the chosen", "no router scale", "no per-expert scale",
         "router without 1/sqrt(width)", "gate and up of the experts swapped", "no dense branch",
         "post norms of the branches swapped", "pre norms of the branches swapped"});
  }
  return names;
}

TEST_P(GoldenModel, MistakesShow) {
  const auto& mutations = golden_->header.at("mutations");
  EXPECT_LT(golden_->noise, 2e-4f);
  for (const std::string& name : mistakes_of(find_shape(GetParam()).value())) {
    EXPECT_GT(mutations.value(name, 0.0), 0.02) << name;
  }
}

class GoldenDrafter : public GoldenModel {
 protected:
  const std::string target_ = std::string(GetParam()).substr(0, golden_->name.find("-drafter"));
};

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenDrafter,
                         ::testing::Values("tiny12-drafter", "tiny31-drafter", "tiny26-drafter",
                                           "tiny-e2b-drafter", "tiny-e4b-drafter"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(GoldenDrafter, ShapeIsTheOneOfThisName) {
  const auto shape = find_shape(GetParam()).value();
  const auto target = find_shape(target_).value();
  nlohmann::json actual = golden_->header.at("drafter");
  for (const char* key : {"eps", "full_period", "k_is_v"}) actual.erase(key);
  nlohmann::json expected = {{"name", shape.name},
                             {"n_layers", shape.n_layers},
                             {"hidden", shape.hidden},
                             {"ffn", shape.ffn},
                             {"n_heads", shape.n_heads},
                             {"n_kv_sliding", target.n_kv_sliding},
                             {"n_kv_full", target.n_kv_full},
                             {"vocab", target.vocab},
                             {"window", target.window},
                             {"head_dim_sliding", target.head_dim_sliding},
                             {"head_dim_full", target.head_dim_full},
                             {"context", target.context},
                             {"rope_theta_sliding", target.rope_theta_sliding},
                             {"rope_theta_full", target.rope_theta_full},
                             {"partial_rotary", target.partial_rotary},
                             {"softcap", nullptr},
                             {"n_shared_kv", shape.n_layers},
                             {"target", target.name},
                             {"target_hidden", target.hidden}};
  if (shape.n_clusters != 0) {
    expected["n_clusters"] = shape.n_clusters;
    expected["n_clusters_used"] = shape.n_clusters_used;
  }
  EXPECT_EQ(actual, expected);
  EXPECT_NE(shape.hidden, target.hidden);
}

TEST_P(GoldenDrafter, DraftsAreDecidedBeforeAndBeyondTheWindow) {
  const nlohmann::json& header = golden_->header;
  const auto positions = header.at("positions").get<std::vector<uint32_t>>();
  const auto drafts = header.at("drafts").get<std::vector<std::vector<uint32_t>>>();
  const auto shape = find_shape(GetParam()).value();
  EXPECT_TRUE(std::ranges::is_sorted(positions));
  EXPECT_TRUE(std::ranges::count(positions, shape.window) == 1);
  EXPECT_LT(positions.front(), shape.window - 1);
  EXPECT_GT(positions.back(), 3 * shape.window);
  const GoldenArray& logits = golden_->array("logits");
  EXPECT_EQ(logits.shape, (std::vector<size_t>{positions.size(), 7, shape.vocab}));
  for (size_t i = 0; i < positions.size(); ++i) {
    ASSERT_EQ(drafts[i].size(), 7u);
    for (size_t n = 0; n < 7; ++n) {
      const auto row = logits.row(i, n);
      EXPECT_EQ(std::ranges::max_element(row) - row.begin(), drafts[i][n]);
    }
  }
  const auto& measured = header.at("measured");
  EXPECT_GT(measured.at("min_margin").get<double>(), 0.05);
  EXPECT_GT(measured.value("min_cluster_margin", 1.0), 0.01);
}

TEST_P(GoldenDrafter, MistakesShow) {
  const auto& mutations = golden_->header.at("mutations");
  for (const char* name :
       {"own key visible", "one key beyond the window", "position moves with the drafts",
        "position P - 1", "hidden state before the embedding", "post projection dropped",
        "no embedding scale", "hidden state before the final norm",
        "sliding KV of the layer before", "no layer scalars", "soft-cap 30"}) {
    EXPECT_GT(mutations.value(name, 0.0), 0.02) << name;
  }
}

TEST(GoldenExperts, AreUsedUnevenlyAndChosenClearly) {
  const auto shape = find_shape("tiny26").value();
  const auto golden = Golden::load(shape.name);
  ASSERT_TRUE(golden.ok()) << golden.error().message;
  const auto& measured = golden->header.at("measured");
  const size_t n_tokens = golden->tokens.size();
  for (uint32_t layer = 0; layer < shape.n_layers; ++layer) {
    EXPECT_GT(measured.at("unused_experts")[layer].get<uint32_t>(), 0u) << layer;
    EXPECT_GT(measured.at("busiest_expert_tokens")[layer].get<uint32_t>(),
              2 * n_tokens * shape.n_experts_used / shape.n_experts)
        << layer;
  }
  // Two float32 implementations differ by up to 3e-5 in a score.
  EXPECT_GE(measured.at("min_router_margin").get<double>(), 1e-4);
  EXPECT_GE(measured.at("min_router_margin_of_types").get<double>(), 1e-4);
}

TEST(GoldenRope, HeadIsTheHashAndTheTablesAreAngles) {
  const auto golden = Golden::load("rope");
  ASSERT_TRUE(golden.ok()) << golden.error().message;
  for (const auto& [kind, entry] : golden->header.at("kinds").items()) {
    const auto dim = entry.at("head_dim").get<size_t>();
    const HashStream stream(7, "rope." + kind);
    const GoldenArray& head = golden->array(kind + ".head");
    ASSERT_EQ(head.values.size(), dim);
    for (size_t i = 0; i < dim; ++i) {
      EXPECT_EQ(static_cast<float>(head.values[i]), stream.unit(i));
    }
    const GoldenArray& cosine = golden->array(kind + ".cos");
    const GoldenArray& sine = golden->array(kind + ".sin");
    ASSERT_EQ(cosine.shape[1], entry.at("rotating_pairs").get<size_t>());
    for (size_t i = 0; i < cosine.values.size(); ++i) {
      const double c = cosine.values[i], s = sine.values[i];
      EXPECT_NEAR(c * c + s * s, 1.0, 1e-12);
    }
  }
}

}  // namespace
}  // namespace kimberlite::synthetic
