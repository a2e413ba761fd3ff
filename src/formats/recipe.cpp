// The rules are those of ggml's quantiser without an importance matrix (llama-quant.cpp), for the
// tensors that Gemma 4 has.
#include "formats/recipe.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace kimberlite::formats {
namespace {

using enum GgmlType;

constexpr std::array kRecipes = {
    Recipe{"f32", f32, 0},        Recipe{"f16", f16, 1},      Recipe{"bf16", bf16, 32},
    Recipe{"q8_0", q8_0, 7},      Recipe{"q6_k", q6_k, 18},   Recipe{"q5_k_m", q5_k, 17},
    Recipe{"q5_k_s", q5_k, 16},   Recipe{"q4_k_m", q4_k, 15}, Recipe{"q4_k_s", q4_k, 14},
    Recipe{"q3_k_l", q3_k, 13},   Recipe{"q3_k_m", q3_k, 12}, Recipe{"q3_k_s", q3_k, 11},
    Recipe{"q2_k", q2_k, 10},     Recipe{"q5_1", q5_1, 9},    Recipe{"q5_0", q5_0, 8},
    Recipe{"q4_1", q4_1, 3},      Recipe{"q4_0", q4_0, 2},    Recipe{"iq4_nl", iq4_nl, 25},
    Recipe{"iq4_xs", iq4_xs, 30}, Recipe{"mxfp4", mxfp4, 38},
};

constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"q5_k", "q5_k_m"}, {"q4_k", "q4_k_m"}, {"q3_k", "q3_k_m"}, {"mxfp4_moe", "mxfp4"}};

enum class Role { kept, head, embedding, value, down, attention_output, other };

Role role_of(const RecipeTensor& tensor) {
  const std::string_view name = tensor.name;
  const auto has = [&](std::string_view part) { return name.find(part) != name.npos; };
  if (tensor.ne.size() < 2 || !name.ends_with("weight") || has("_norm.weight") ||
      has("ffn_gate_inp.weight") || has("per_layer_model_proj")) {
    return Role::kept;
  }
  if (name == "output.weight") return Role::head;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Role::embedding;
  if (has("attn_v.weight") || has("attn_qkv.weight")) return Role::value;
  if (has("ffn_down")) return Role::down;
  if (has("attn_output.weight")) return Role::attention_output;
  return Role::other;
}

/// The N of blk.N., 0 where there is none.
uint32_t layer_of(std::string_view name) {
  uint32_t layer = 0;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

/// The first and last eighth of `n`, and every third between.
bool gets_more(uint32_t i, uint32_t n) {
  return i < n / 8 || i >= uint64_t{7} * n / 8 || (i - n / 8) % 3 == 2;
}

/// Of a value projection, the `i`-th of `n` in the model.
GgmlType value_type(const Recipe& recipe, uint32_t i, uint32_t n, uint32_t heads_per_kv) {
  if (recipe.name == "q2_k") return heads_per_kv >= 4 ? q4_k : q3_k;
  if (recipe.name == "q3_k_m") return i < 2 ? q5_k : q4_k;
  if (recipe.name == "q3_k_l") return q5_k;
  if (recipe.name == "iq4_nl" || recipe.name == "iq4_xs") {
    return heads_per_kv >= 4 ? q5_k : recipe.type;
  }
  if (recipe.name == "q4_k_m" || recipe.name == "q5_k_m")
    return gets_more(i, n) ? q6_k : recipe.type;
  if (recipe.name == "q4_k_s") return i < 4 ? q5_k : q4_k;
  return recipe.type;
}

/// Of a down projection in layer `i` of `n`.
GgmlType down_type(const Recipe& recipe, uint32_t i, uint32_t n) {
  if (recipe.name == "q2_k") return q3_k;
  if (recipe.name == "q3_k_m") return i < n / 16 ? q5_k : q4_k;
  if (recipe.name == "q3_k_l") return q5_k;
  if (recipe.name == "q4_k_m" || recipe.name == "q5_k_m")
    return gets_more(i, n) ? q6_k : recipe.type;
  if (recipe.name == "q4_k_s" || recipe.name == "iq4_nl" || recipe.name == "iq4_xs") {
    return i < n / 8 ? q5_k : recipe.type;
  }
  return recipe.type;
}

GgmlType attention_output_type(const Recipe& recipe) {
  if (recipe.name == "q2_k") return q3_k;
  if (recipe.name == "q3_k_m") return q4_k;
  if (recipe.name == "q3_k_l") return q5_k;
  return recipe.type;
}

GgmlType head_type(const Recipe& recipe) {
  return recipe.type == q8_0 || recipe.type == mxfp4 ? q8_0 : q6_k;
}

/// What takes the place of `type` in rows that are no whole number of its blocks.
GgmlType with_smaller_blocks(GgmlType type) {
  switch (type) {
    case q2_k:
    case q3_k:
      return q4_0;
    case q4_k:
      return q5_0;
    case q5_k:
      return q5_1;
    case q6_k:
      return q8_0;
    case iq4_xs:
      return iq4_nl;
    default:
      return f16;
  }
}

RecipeChoice fit(GgmlType wanted, uint64_t n_in) {
  GgmlType type = wanted;
  while (n_in % traits(type).block_elems != 0) type = with_smaller_blocks(type);
  return {type, wanted};
}

/// What the rules need to know of the model as a whole.
class Cook {
 public:
  Cook(const Recipe& recipe, const RecipeModel& model, std::optional<GgmlType> embedding)
      : recipe_(recipe), model_(model), embedding_(embedding) {
    for (const RecipeTensor& tensor : model.tensors) {
      const Role role = role_of(tensor);
      if (role == Role::value) value_layers_.push_back(layer_of(tensor.name));
      if (role == Role::head) is_tied_ = false;
      if (is_expert(tensor)) has_experts_ = true;
    }
    std::ranges::sort(value_layers_);
  }

  [[nodiscard]] std::optional<GgmlType> type_of(const RecipeTensor& tensor) const {
    const Role role = role_of(tensor);
    if (role == Role::kept) return std::nullopt;
    if (role == Role::embedding && embedding_) return embedding_;
    if (traits(recipe_.type).block_elems == 1) return recipe_.type;
    if (role == Role::head || (role == Role::embedding && is_tied_)) return head_type(recipe_);
    if (recipe_.type == mxfp4) return is_expert(tensor) || is_dense_layer(role) ? mxfp4 : q8_0;
    const uint32_t layer = layer_of(tensor.name);
    switch (role) {
      case Role::value:
        return value_type(recipe_, rank(layer), static_cast<uint32_t>(value_layers_.size()),
                          model_.heads_per_kv);
      case Role::down:
        return down_type(recipe_, layer, model_.n_layers);
      case Role::attention_output:
        return attention_output_type(recipe_);
      default:
        return recipe_.type;
    }
  }

 private:
  static bool is_expert(const RecipeTensor& tensor) {
    return tensor.ne.size() > 2 && tensor.ne[2] > 1 && role_of(tensor) != Role::kept;
  }
  [[nodiscard]] bool is_dense_layer(Role role) const {
    return !has_experts_ && role != Role::embedding;
  }
  /// How many layers before `layer` have a value projection.
  [[nodiscard]] uint32_t rank(uint32_t layer) const {
    return static_cast<uint32_t>(std::ranges::lower_bound(value_layers_, layer) -
                                 value_layers_.begin());
  }

  const Recipe& recipe_;  // Borrowed from apply_recipe, like the model.
  const RecipeModel& model_;
  std::optional<GgmlType> embedding_;
  std::vector<uint32_t> value_layers_;
  bool is_tied_ = true;
  bool has_experts_ = false;
};

}  // namespace

std::span<const Recipe> recipes() { return kRecipes; }

const Recipe* find_recipe(std::string_view name) {
  for (const auto& [other, known] : kOtherNames) {
    if (name == other) name = known;
  }
  const auto found = std::ranges::find(kRecipes, name, &Recipe::name);
  return found == kRecipes.end() ? nullptr : &*found;
}

std::vector<std::optional<RecipeChoice>> apply_recipe(const Recipe& recipe,
                                                      const RecipeModel& model,
                                                      std::optional<GgmlType> embedding) {
  const Cook cook(recipe, model, embedding);
  std::vector<std::optional<RecipeChoice>> choices;
  for (const RecipeTensor& tensor : model.tensors) {
    const std::optional<GgmlType> wanted = cook.type_of(tensor);
    choices.push_back(wanted ? std::optional(fit(*wanted, tensor.ne[0])) : std::nullopt);
  }
  return choices;
}

}  // namespace kimberlite::formats
