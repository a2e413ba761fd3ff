// Reads tests/golden: what the official implementation computed on the tiny models, and the plain
// tables beside them. Written by tools/reference/make_golden.py
// and make_media_golden.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::testing {

/// One array of a golden file, row-major, slowest axis first.
struct GoldenArray {
  std::vector<size_t> shape;
  std::vector<double> values;  // narrower types are widened, exactly

  /// Row `index` of the first axis as float32.
  [[nodiscard]] std::vector<float> row(size_t index) const;
  /// Row [i, j] of the first two axes as float32.
  [[nodiscard]] std::vector<float> row(size_t i, size_t j) const;
};

/// NAME.json and NAME.bin. Any name of tests/golden may be loaded; the members from `seed` on are
/// empty for files that hold no model ("rope", "hash", "media"), whose header has the rest.
struct Golden {
  std::string name;
  nlohmann::json header;
  std::map<std::string, GoldenArray, std::less<>> arrays;

  uint64_t seed = 0;
  std::vector<int32_t> tokens;    // the prompt
  std::vector<int32_t> greedy;    // the ids that follow it; end tokens do not end it
  std::vector<size_t> positions;  // of the rows that `hidden` and the typed logits hold
  size_t n_vocab = 0;
  float min_margin = 0;  // smallest distance of the two best logits while greedy
  // Largest distance of `logits` from the same computation in float64: what float32 costs here.
  float noise = 0;

  /// Errors: io, bad_file.
  static Result<Golden> load(std::string_view name);

  /// The array `key`. Aborts where the file lacks it: the test names what it needs. Beside those
  /// below: "per_layer_inputs" [n_layers, positions, width], and "router.experts" and
  /// "router.weights" [n_layers, positions, experts used] by falling probability.
  [[nodiscard]] const GoldenArray& array(std::string_view key) const;

  /// [tokens, vocab] with float32 weights, after the soft-cap.
  [[nodiscard]] const GoldenArray& logits() const { return array("logits"); }
  /// [n_layers + 2, positions, hidden]: the scaled embedding, each layer's output (with its
  /// scalar), the final norm's output.
  [[nodiscard]] const GoldenArray& hidden() const { return array("hidden"); }
  /// [vocab]: the logits that chose greedy.back().
  [[nodiscard]] const GoldenArray& last_logits() const { return array("last_logits"); }
  /// [positions, vocab] with matrices stored as `type`: "bf16", "f16", "q8_0", "q4_0"; and where
  /// all rows are whole super-blocks, "q4_k" and "q6_k", both with a q6_k embedding.
  [[nodiscard]] const GoldenArray& typed_logits(std::string_view type) const;
};

}  // namespace kimberlite::testing
