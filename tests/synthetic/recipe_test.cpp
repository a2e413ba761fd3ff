// Recipes on every member of the family: tensor names to types, counted and weighed against the
// files that people have, and the rules one by one.
#include "formats/recipe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "synthetic/shapes.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using formats::RecipeModel;
using testing::ElementsAre;
using testing::Pair;
using testing::UnorderedElementsAre;

/// What a recipe makes of a shape's tensors.
class Cooked {
 public:
  Cooked(const ModelShape& shape, std::string_view recipe,
         std::optional<GgmlType> embedding = std::nullopt)
      : tensors_(list_tensors(shape)) {
    RecipeModel model{{}, shape.n_layers, shape.n_heads / shape.n_kv(0)};
    for (const TensorSpec& tensor : tensors_) model.tensors.push_back({tensor.name, tensor.ne});
    choices_ = formats::apply_recipe(*formats::find_recipe(recipe), model, embedding);
  }

  /// The type's name, or "" for a tensor that stays as it is.
  [[nodiscard]] std::string_view type(std::string_view name) const {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].name != name) continue;
      return choices_[i] ? formats::traits(choices_[i]->type).name : std::string_view();
    }
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  [[nodiscard]] std::map<std::string_view, uint64_t> counts() const {
    std::map<std::string_view, uint64_t> counts;
    for (const auto& choice : choices_) {
      if (choice) ++counts[formats::traits(choice->type).name];
    }
    return counts;
  }
  /// Of the file's tensors, with f32 for all that stays (bf16 for the per-layer projection).
  [[nodiscard]] uint64_t n_bytes() const {
    uint64_t n = 0;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const bool is_projection = tensors_[i].name == "per_layer_model_proj.weight";
      const GgmlType kept = is_projection ? GgmlType::bf16 : GgmlType::f32;
      n += *formats::row_bytes(choices_[i] ? choices_[i]->type : kept, tensors_[i].n_elements());
    }
    return n;
  }
  /// The layers in which `part` has `type`.
  [[nodiscard]] std::set<uint32_t> layers_with(std::string_view part, std::string_view type) const {
    std::set<uint32_t> layers;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (!tensors_[i].name.ends_with(part) || !choices_[i]) continue;
      if (formats::traits(choices_[i]->type).name != type) continue;
      layers.insert(static_cast<uint32_t>(std::stoul(tensors_[i].name.substr(4))));
    }
    return layers;
  }

 private:
  std::vector<TensorSpec> tensors_;
  std::vector<std::optional<formats::RecipeChoice>> choices_;
};

ModelShape shape(std::string_view name) { return *find_shape(name); }

// Counts and sizes of published files.
TEST(Recipe, DenseFilesAsPublished) {
  EXPECT_THAT(Cooked(shape("12b"), "q4_0").counts(),
              UnorderedElementsAre(Pair("q4_0", 328), Pair("q6_k", 1)));
  EXPECT_THAT(Cooked(shape("12b"), "q4_k_m").counts(),
              UnorderedElementsAre(Pair("q4_k", 284), Pair("q6_k", 45)));
  EXPECT_THAT(Cooked(shape("12b"), "q5_k_m").counts(),
              UnorderedElementsAre(Pair("q5_k", 284), Pair("q6_k", 45)));
  EXPECT_THAT(Cooked(shape("12b"), "q6_k").counts(), ElementsAre(Pair("q6_k", 329)));
  EXPECT_THAT(Cooked(shape("12b"), "q8_0").counts(), ElementsAre(Pair("q8_0", 329)));
  const auto megabytes = [](std::string_view name, std::string_view recipe) {
    return (Cooked(shape(name), recipe).n_bytes() + 500'000) / 1'000'000;
  };
  EXPECT_EQ(megabytes("12b", "q4_0"), 6960u);
  EXPECT_EQ(megabytes("12b", "q4_k_m"), 7366u);
  EXPECT_EQ(megabytes("12b", "q5_k_m"), 8531u);
  EXPECT_EQ(megabytes("12b", "q6_k"), 9770u);
  EXPECT_EQ(megabytes("12b", "q8_0"), 12654u);
  EXPECT_EQ(megabytes("31b", "q4_0"), 17635u);
  EXPECT_EQ(megabytes("31b", "q4_k_m"), 18671u);
  EXPECT_EQ(megabytes("31b", "q8_0"), 32620u);
}

// Rows of 2112 and 704 take blocks of 32.
TEST(Recipe, ExpertsAsPublished) {
  const Cooked cooked(shape("26b"), "q4_k_m");
  EXPECT_THAT(cooked.counts(), UnorderedElementsAre(Pair("q4_k", 192), Pair("q6_k", 14),
                                                    Pair("q5_0", 32), Pair("q8_0", 28)));
  EXPECT_EQ(cooked.type("blk.0.ffn_down_exps.weight"), "q8_0");
  EXPECT_EQ(cooked.type("blk.3.ffn_down_exps.weight"), "q5_0");
  EXPECT_EQ(cooked.type("blk.3.ffn_down.weight"), "q5_0");
  EXPECT_EQ(cooked.type("blk.3.ffn_gate_up_exps.weight"), "q4_k");
  EXPECT_EQ(Cooked(shape("26b"), "iq4_xs").type("blk.9.ffn_down_exps.weight"), "iq4_nl");
  EXPECT_EQ(Cooked(shape("26b"), "q2_k").type("blk.9.ffn_down_exps.weight"), "q4_0");
  EXPECT_EQ(Cooked(shape("26b"), "q5_k_s").type("blk.9.ffn_down_exps.weight"), "q5_1");
}

TEST(Recipe, WhatStays) {
  for (const formats::Recipe& recipe : formats::recipes()) {
    for (const std::string_view name : {"tiny12", "tiny31", "tiny-e2b", "tiny-e4b", "tiny26"}) {
      const Cooked cooked(shape(name), recipe.name);
      for (const TensorSpec& tensor : list_tensors(shape(name))) {
        const bool stays = tensor.ne.size() < 2 || tensor.name == "per_layer_model_proj.weight" ||
                           tensor.name.ends_with("ffn_gate_inp.weight");
        EXPECT_EQ(cooked.type(tensor.name).empty(), stays) << recipe.name << " " << tensor.name;
      }
    }
  }
}

TEST(Recipe, Embeddings) {
  for (const std::string_view name : {"q2_k", "q3_k_m", "q4_0", "q4_1", "q4_k_s", "q5_0", "q5_1",
                                      "q5_k_m", "q6_k", "iq4_nl", "iq4_xs"}) {
    const Cooked cooked(shape("e2b"), name);
    EXPECT_EQ(cooked.type("token_embd.weight"), "q6_k") << name;
    EXPECT_EQ(cooked.type("per_layer_token_embd.weight"), "q6_k") << name;
  }
  for (const std::string_view name : {"q8_0", "mxfp4"}) {
    EXPECT_EQ(Cooked(shape("e2b"), name).type("token_embd.weight"), "q8_0") << name;
  }
  for (const std::string_view name : {"f32", "f16", "bf16"}) {
    EXPECT_EQ(Cooked(shape("e2b"), name).type("token_embd.weight"), name);
  }
  EXPECT_EQ(Cooked(shape("tiny12"), "q4_k_m").type("token_embd.weight"), "q8_0");  // rows of 96
  const Cooked chosen(shape("e2b"), "q4_k_m", GgmlType::q4_0);
  EXPECT_EQ(chosen.type("token_embd.weight"), "q4_0");
  EXPECT_EQ(chosen.type("per_layer_token_embd.weight"), "q4_0");
  EXPECT_EQ(chosen.type("blk.0.attn_q.weight"), "q4_k");
}

TEST(Recipe, AHeadOfItsOwn) {
  const std::vector<uint64_t> ne = {512, 1024};
  const RecipeModel model{{{"token_embd.weight", ne}, {"output.weight", ne}}, 1, 1};
  const auto choices = formats::apply_recipe(*formats::find_recipe("q4_k_m"), model);
  EXPECT_EQ(choices[0]->type, GgmlType::q4_k);
  EXPECT_EQ(choices[1]->type, GgmlType::q6_k);
}

// 30 layers: an eighth is 3, a sixteenth 1. Every sixth layer has no value projection, which
// leaves 25, an eighth of which is 3 as well.
TEST(Recipe, LayersThatGetMore) {
  ModelShape small = shape("12b").with_layers(30);
  const Cooked k_m(small, "q4_k_m");
  EXPECT_EQ(k_m.layers_with("ffn_down.weight", "q6_k"),
            (std::set<uint32_t>{0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29}));
  // The projections 0 1 2, 5 8 11 14 17 20 and 21 to 24; the n-th is in layer n + n / 5.
  EXPECT_EQ(k_m.layers_with("attn_v.weight", "q6_k"),
            (std::set<uint32_t>{0, 1, 2, 6, 9, 13, 16, 20, 24, 25, 26, 27, 28}));
  const Cooked k_s(small, "q4_k_s");
  EXPECT_EQ(k_s.layers_with("ffn_down.weight", "q5_k"), (std::set<uint32_t>{0, 1, 2}));
  EXPECT_EQ(k_s.layers_with("attn_v.weight", "q5_k"), (std::set<uint32_t>{0, 1, 2, 3}));
  const Cooked q3(small, "q3_k_m");
  EXPECT_EQ(q3.layers_with("ffn_down.weight", "q5_k"), (std::set<uint32_t>{0}));
  EXPECT_EQ(q3.layers_with("ffn_down.weight", "q4_k").size(), 29u);
  EXPECT_EQ(q3.layers_with("attn_v.weight", "q5_k"), (std::set<uint32_t>{0, 1}));
  EXPECT_EQ(q3.type("blk.0.attn_output.weight"), "q4_k");
  EXPECT_EQ(q3.type("blk.0.ffn_up.weight"), "q3_k");
  const Cooked iq4(small, "iq4_xs");
  EXPECT_EQ(iq4.layers_with("ffn_down.weight", "q5_k"), (std::set<uint32_t>{0, 1, 2}));
}

TEST(Recipe, ValuesThatManyHeadsShare) {
  EXPECT_EQ(Cooked(shape("12b"), "q2_k").type("blk.0.attn_v.weight"), "q3_k");
  EXPECT_EQ(Cooked(shape("e2b"), "q2_k").type("blk.0.attn_v.weight"), "q4_k");
  EXPECT_EQ(Cooked(shape("12b"), "iq4_xs").type("blk.0.attn_v.weight"), "iq4_xs");
  EXPECT_EQ(Cooked(shape("e2b"), "iq4_xs").type("blk.0.attn_v.weight"), "q5_k");
  EXPECT_EQ(Cooked(shape("12b"), "q2_k").type("blk.0.attn_output.weight"), "q3_k");
}

TEST(Recipe, Mxfp4IsForExperts) {
  const Cooked experts(shape("26b"), "mxfp4");
  EXPECT_EQ(experts.type("blk.0.ffn_gate_up_exps.weight"), "mxfp4");
  EXPECT_EQ(experts.type("blk.0.ffn_down_exps.weight"), "mxfp4");
  EXPECT_EQ(experts.type("blk.0.ffn_down.weight"), "q8_0");
  EXPECT_EQ(experts.type("blk.0.attn_q.weight"), "q8_0");
  EXPECT_EQ(experts.type("token_embd.weight"), "q8_0");
  const Cooked dense(shape("12b"), "mxfp4");
  EXPECT_EQ(dense.type("blk.0.ffn_down.weight"), "mxfp4");
  EXPECT_EQ(dense.type("token_embd.weight"), "q8_0");
}

TEST(Recipe, Names) {
  EXPECT_EQ(formats::find_recipe("q4_k"), formats::find_recipe("q4_k_m"));
  EXPECT_EQ(formats::find_recipe("q4_k_m")->file_type, 15u);
  EXPECT_EQ(formats::find_recipe("iq1_s"), nullptr);
}

}  // namespace
}  // namespace kimberlite::synthetic
