#include "runtime/prefill_plan.hpp"

#include <algorithm>
#include <bit>

#include "base/numeric.hpp"
#include "runtime/kv_cache.hpp"

namespace kimberlite::runtime {
namespace {

/// The rows of a pass that computes exactly `n` positions.
uint32_t rows_for(uint32_t n) {
  if (n > kMaxPrefillRows) return align_up(n, kernels::kAttentionChunk);
  return std::max(kMinPrefillRows, std::bit_ceil(n));
}

}  // namespace

double submission_bound_seconds(const vk::Caps& caps) {
  if (caps.is_cpu) return 4.0;
  return caps.unified_memory ? 0.1 : 0.5;
}

uint32_t pick_prefill_rows(uint32_t n_left, uint32_t limit, bool pads) {
  const uint32_t largest =
      std::min(std::bit_floor(std::max(limit, kMinPrefillRows)), kMaxPrefillRows);
  const uint32_t bucket = std::clamp(std::bit_ceil(n_left), kMinPrefillRows, largest);
  const uint32_t enough = pads ? bucket / 4 * 3 : bucket;
  const bool wasteful = bucket > kMinPrefillRows && n_left < enough;
  return wasteful ? bucket / 2 : bucket;
}

uint32_t next_row_limit(uint32_t n_rows, double seconds, double bound_seconds) {
  const double fits = bound_seconds * n_rows / seconds;
  return static_cast<uint32_t>(
      std::clamp(std::min(fits, 2.0 * n_rows), double{kMinPrefillRows}, double{kMaxPrefillRows}));
}

PrefillStep pick_prefill_step(std::span<const SoftRun> runs, uint32_t n_cached, uint32_t n_end,
                              uint32_t limit, bool pads) {
  PrefillStep step;
  step.n_rows = pick_prefill_rows(n_end - n_cached, limit, pads);
  step.n_used = std::min(step.n_rows, n_end - n_cached);
  const SoftRun* split = find_run(runs, n_cached + step.n_used);
  if (split != nullptr && split->soft->is_block && split->first < n_cached + step.n_used) {
    step.n_used = split->first > n_cached ? split->first - n_cached : split->soft->n;
    step.n_rows = rows_for(step.n_used);
  }
  const uint32_t end = n_cached + step.n_used;
  step.has_soft = std::ranges::any_of(
      runs, [&](const SoftRun& run) { return run.first < end && run.end() > n_cached; });
  return step;
}

}  // namespace kimberlite::runtime
