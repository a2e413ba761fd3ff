#include "runtime/prompt.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kimberlite::runtime {

Status check_runs(const Prompt& prompt, uint32_t width, uint32_t largest_block) {
  const auto refuse = [](std::string message) -> Status {
    return Error{ErrorCode::invalid_argument, std::move(message)};
  };
  uint64_t end = 0;
  for (size_t i = 0; i < prompt.runs.size(); ++i) {
    const SoftRun& run = prompt.runs[i];
    if (run.soft == nullptr || run.soft->n == 0) {
      return refuse(fmt::format("embeddings {} have no rows, expected at least 1", i));
    }
    const uint64_t run_end = uint64_t{run.first} + run.soft->n;
    if (run.first < end || run_end >= prompt.tokens.size()) {
      return refuse(
          fmt::format("embeddings {} stand at positions {} to {}, expected a place from {} on and "
                      "before the last of {} tokens",
                      i, run.first, run_end - 1, end, prompt.tokens.size()));
    }
    if (run.soft->rows.size() != uint64_t{run.soft->n} * width) {
      return refuse(fmt::format("embeddings {} have {} values, expected {} rows of {}", i,
                                run.soft->rows.size(), run.soft->n, width));
    }
    if (run.soft->is_block && run.soft->n > largest_block) {
      return refuse(fmt::format("picture {} has {} embeddings, at most {} are possible", i,
                                run.soft->n, largest_block));
    }
    end = run_end;
  }
  return {};
}

uint32_t common_items(const Prompt& a, const Prompt& b, uint32_t limit) {
  const size_t n = std::min({a.tokens.size(), b.tokens.size(), size_t{limit}});
  const auto end = a.tokens.begin() + static_cast<std::ptrdiff_t>(n);
  const auto differ = std::mismatch(a.tokens.begin(), end, b.tokens.begin());
  auto common = static_cast<uint32_t>(differ.first - a.tokens.begin());
  for (size_t i = 0; i < std::max(a.runs.size(), b.runs.size()); ++i) {
    const SoftRun* in_a = i < a.runs.size() ? &a.runs[i] : nullptr;
    const SoftRun* in_b = i < b.runs.size() ? &b.runs[i] : nullptr;
    if (in_a != nullptr && in_b != nullptr && in_a->first == in_b->first &&
        in_a->soft->hash == in_b->soft->hash && in_a->soft->n == in_b->soft->n) {
      const bool cut = in_a->soft->is_block && in_a->first < common && common < in_a->end();
      if (cut) common = in_a->first;
      continue;
    }
    if (in_a != nullptr) common = std::min(common, in_a->first);
    if (in_b != nullptr) common = std::min(common, in_b->first);
    break;
  }
  return common;
}

std::vector<SoftRun> runs_before(std::span<const SoftRun> runs, uint32_t position) {
  const auto end =
      std::ranges::find_if(runs, [&](const SoftRun& run) { return run.first >= position; });
  return {runs.begin(), end};
}

const SoftRun* find_run(std::span<const SoftRun> runs, uint32_t position) {
  for (const SoftRun& run : runs) {
    if (run.first <= position && position < run.end()) return &run;
  }
  return nullptr;
}

}  // namespace kimberlite::runtime
