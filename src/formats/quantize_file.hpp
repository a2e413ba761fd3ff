// A GGUF model in floats or q8_0 becomes one in another type, by a preset's recipe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/recipe.hpp"

namespace kimberlite::formats {

struct QuantizeOptions {
  const Recipe* recipe = nullptr;          // never null in a call
  std::optional<GgmlType> embedding = {};  // instead of the recipe's
  uint32_t n_threads = 0;                  // 0: one per processor
  bool overwrite = false;                  // without it an existing output is an error
  WriteProgress progress = {};
};

struct QuantizeReport {
  struct Total {
    uint64_t n_tensors = 0;
    uint64_t n_bytes = 0;
  };
  std::map<GgmlType, Total> types;  // of the output
  uint64_t n_bytes_before = 0;      // of the input's tensors
  uint64_t n_bytes = 0;             // of the output's
  std::vector<std::string> notes;   // what a user should know, one sentence each
};

/// Reads f32, f16, bf16 and q8_0 and writes what apply_recipe says; all other tensors and all
/// metadata stay as they are, but general.file_type. A split input becomes one file. Matrices in
/// any other type were trained or rounded for it: they are copied where the recipe has the same
/// type for them and are never rounded again. Errors: unsupported for those and for other models,
/// bad_file for a damaged input, for one with a number that the type cannot hold,
/// invalid_argument for an existing output or one that is the input, io, cancelled. On failure no
/// output is left and an existing one is untouched.
Result<QuantizeReport> quantize(const std::string& in_path, const std::string& out_path,
                                const QuantizeOptions& options);

}  // namespace kimberlite::formats
