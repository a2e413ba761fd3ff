// What a session is asked to stand for: tokens, and embeddings of pictures and sounds in the places
// of some of them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::runtime {

/// Of what embeddings were made of: two different pictures have different ones, however equal the
/// tokens are that stand for them.
using ContentHash = std::array<uint64_t, 2>;

/// Embeddings of one picture or sound. Immutable, shared by prompts and sessions.
struct SoftTokens {
  ContentHash hash{};
  uint32_t n = 0;
  bool is_block = false;    // whether they see each other in sliding layers: those of a picture
  std::vector<float> rows;  // [n, width]
};

/// Where they stand: positions first .. first + n - 1, in the places of as many placeholder tokens.
struct SoftRun {
  uint32_t first = 0;
  std::shared_ptr<const SoftTokens> soft;

  [[nodiscard]] uint32_t end() const { return first + soft->n; }
};

struct Prompt {
  std::vector<int32_t> tokens;
  std::vector<SoftRun> runs;  // by position
};

/// Runs of a list of tokens: in order, each within the tokens and never at the last one, which is
/// pending after a sync; rows of `width`; blocks of at most `largest_block`. Errors:
/// invalid_argument, with the values.
Status check_runs(const Prompt& prompt, uint32_t width, uint32_t largest_block);

/// How many items two prompts have in common, at most `limit`: tokens, or positions of the same
/// content. Never ends within a block. Pure.
[[nodiscard]] uint32_t common_items(const Prompt& a, const Prompt& b, uint32_t limit);

/// The runs that begin before `position`.
[[nodiscard]] std::vector<SoftRun> runs_before(std::span<const SoftRun> runs, uint32_t position);

/// The run that holds `position`; nullptr: none.
[[nodiscard]] const SoftRun* find_run(std::span<const SoftRun> runs, uint32_t position);

}  // namespace kimberlite::runtime
