// The presets that people know from ggml's quantiser: which type each tensor of a model gets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "formats/ggml_type.hpp"

namespace kimberlite::formats {

struct Recipe {
  std::string_view name;  // lower case, as on the command line: "q4_k_m"
  GgmlType type;          // of most matrices
  uint32_t file_type;     // the label general.file_type
};

std::span<const Recipe> recipes();
/// By name, or by the name of its type ("q4_k" is q4_k_m, as people use it). Null where unknown.
const Recipe* find_recipe(std::string_view name);

/// What a recipe looks at.
struct RecipeTensor {
  std::string_view name;
  std::span<const uint64_t> ne;  // input-first
};
struct RecipeModel {
  std::vector<RecipeTensor> tensors;
  uint32_t n_layers;
  uint32_t heads_per_kv;  // query heads that share a key head in the first layer
};

struct RecipeChoice {
  GgmlType type;
  GgmlType wanted;  // differs where the rows are no whole number of its blocks
};

/// For each tensor its type, or nothing where it stays as it is: everything but matrices, the
/// router, and the projection of the per-layer inputs. `embedding` replaces the recipe's type of
/// the embedding tables. Where no output.weight is there, the embedding is the head and gets the
/// head's type. `mxfp4` is for experts; what is beside them is q8_0, and a model without any has
/// mxfp4 in all layers.
std::vector<std::optional<RecipeChoice>> apply_recipe(const Recipe& recipe,
                                                      const RecipeModel& model,
                                                      std::optional<GgmlType> embedding = {});

}  // namespace kimberlite::formats
