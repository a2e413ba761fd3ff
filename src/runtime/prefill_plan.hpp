// How a prompt is cut into prefill passes: pure arithmetic.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/prompt.hpp"
#include "vk/caps.hpp"

namespace kimberlite::runtime {

/// Passes of text have so few rows at least, those that begin a session so many at first.
inline constexpr uint32_t kMinPrefillRows = 8;

/// How long one submission may take. A device that drives the display must not stall it, Windows
/// resets a GPU after 2 s; on a CPU driver only the answer to Ctrl-C waits. Pure.
[[nodiscard]] double submission_bound_seconds(const vk::Caps& caps);

/// Rows of the next prefill pass when `n_left` positions are left: the smallest bucket that wastes
/// at most a quarter of its rows (`pads`, where a pass reads each weight once whatever its rows; a
/// CPU driver pays for each row), else the largest that is filled. Buckets are 8, 16, ... up to
/// kMaxPrefillRows; none is larger than `limit` (at least 8). Pure.
[[nodiscard]] uint32_t pick_prefill_rows(uint32_t n_left, uint32_t limit, bool pads);

/// The row limit after a pass of `n_rows` took `seconds`: what fits `bound_seconds` at that speed,
/// at most twice as much as was tried. Pure.
[[nodiscard]] uint32_t next_row_limit(uint32_t n_rows, double seconds, double bound_seconds);

struct PrefillStep {
  uint32_t n_used = 0;    // positions that are computed
  uint32_t n_rows = 0;    // rows of the pass: a bucket, or whole chunks where a picture is larger
  bool has_soft = false;  // whether embeddings of `runs` are among them
};

/// The next pass over the positions n_cached to n_end - 1: as pick_prefill_rows, but never a part
/// of a picture. It ends before one that it would split, and takes one whole that it begins with,
/// whatever the limit. Pure.
[[nodiscard]] PrefillStep pick_prefill_step(std::span<const SoftRun> runs, uint32_t n_cached,
                                            uint32_t n_end, uint32_t limit, bool pads);

}  // namespace kimberlite::runtime
