#include "runtime/draft_policy.hpp"

#include <algorithm>
#include <cmath>

#include "base/result.hpp"

namespace kimberlite::runtime {
namespace {

constexpr uint32_t kBurst = 3;           // rounds: the shortest of three times is no hiccup
constexpr uint32_t kLongestBurst = 12;   // where the first drafts of most rounds were right
constexpr uint64_t kFirstInterval = 32;  // rounds between bursts; doubles
constexpr uint64_t kLastInterval = 512;
constexpr uint64_t kLastIntervalDrafting = 128;  // where other choices are nearly as good
constexpr double kLargestLoss = 0.01;    // share of tokens that bursts may cost in the long run
constexpr double kMemory = 0.99;         // of acceptance, per round
constexpr double kKept = 5;              // of what is known of a draft while none is checked
constexpr double kPriorChance = 0.5;     // of the first draft
constexpr double kPriorWeight = 1;       // in drafts
constexpr double kPriorWeightLater = 4;  // of a later draft being as good as the one before it
constexpr double kSmoothing = 0.1;       // of times
constexpr double kLargestStep = 1.1;     // of a time, before smoothing: what is longer is a hiccup
constexpr double kMargin = 0.015;        // gain that a switch is worth
constexpr double kUrgentMargin = 0.1;    // gain that does not wait
constexpr uint64_t kDwell = 32;          // rounds between switches otherwise
constexpr double kHopefulSlope = 0.5;    // of the cheapest draft known
constexpr double kStaleRounds = 10000;   // after which a rate may have doubled
constexpr uint32_t kPlainBurst = 4;      // every fourth burst is of plain steps

}  // namespace

DraftPolicy::DraftPolicy(uint32_t k_max, std::optional<uint32_t> fixed)
    : interval_(kFirstInterval) {
  limit(k_max, fixed);
  if (k_max > 0) begin_burst(0);
}

void DraftPolicy::limit(uint32_t k_max, std::optional<uint32_t> fixed) {
  KL_CHECK(k_max <= kMaxDrafts && fixed.value_or(0) <= kMaxDrafts, "drafts of a decode pass");
  k_max_ = k_max;
  fixed_ = fixed;
  if (tried_ > k_max) burst_left_ = 0;
  if (settled_ <= k_max) return;
  settled_ = 0;
  settle(0);
}

uint32_t DraftPolicy::pick() const {
  if (fixed_.has_value()) return *fixed_;
  return burst_left_ > 0 ? tried_ : settled_;
}

void DraftPolicy::record(const DraftRound& round) {
  KL_CHECK(round.k <= kMaxDrafts && round.n_drafts <= round.k && round.n_accepted <= round.n_drafts,
           "a round with more drafts than it had");
  ++n_rounds_;
  n_emitted_ += round.n_emitted;
  record_acceptance(round);
  record_seconds(round.k, round.seconds);
  if (fixed_.has_value() || k_max_ == 0) return;
  if (burst_left_ > 0) {
    if (round.k != tried_) return;
    ++burst_rounds_;
    burst_right_ += round.n_accepted > 0 ? 1 : 0;
    burst_tokens_ += round.n_emitted;
    if (--burst_left_ == 0) end_burst();
    return;
  }
  // Plain steps say nothing of drafts.
  if (settled_ != 0) settle(n_rounds_ - settled_round_ >= kDwell ? kMargin : kUrgentMargin);
  const bool is_due = n_rounds_ >= next_burst_;
  if (is_due) next_burst_ = n_rounds_ + kFirstInterval;
  if (is_due && settled_ != 0 && ++n_bursts_ % kPlainBurst == 0) return begin_burst(0);
  if (!is_due && settled_ == 0) return;
  if (const std::optional<uint32_t> k = find_candidate(!is_due)) begin_burst(*k);
}

void DraftPolicy::record_acceptance(const DraftRound& round) {
  n_drafted_ += round.n_drafts;
  n_accepted_ += round.n_accepted;
  // The first wrong draft was checked too; where the sequence ended before it, it was not.
  const bool wrong = round.n_accepted < round.n_drafts && round.n_emitted > round.n_accepted;
  const uint32_t n_checked = round.n_accepted + (wrong ? 1 : 0);
  for (uint32_t i = 0; i < kMaxDrafts; ++i) {
    Chance& chance = chances_[i];
    if (i >= n_checked && chance.checked < kKept) continue;
    chance.right *= kMemory;
    chance.checked *= kMemory;
  }
  for (uint32_t i = 0; i < n_checked; ++i) {
    const bool right = i < round.n_accepted;
    chances_[i].checked += 1;
    chances_[i].right += right ? 1 : 0;
    ++chances_[i].n_checked;
    chances_[i].n_right += right ? 1 : 0;
  }
}

void DraftPolicy::record_seconds(uint32_t k, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return;
  Cost& cost = costs_[k];
  cost.last_round = n_rounds_;
  if (cost.n < kBurst) {
    cost.seconds = cost.n++ == 0 ? seconds : std::min(cost.seconds, seconds);
    return;
  }
  ++cost.n;
  const double step = std::clamp(seconds / cost.seconds, 1 / kLargestStep, kLargestStep);
  const double weight = std::max(kSmoothing, 1.0 / static_cast<double>(cost.n));
  const double change = 1 + weight * (step - 1);
  cost.seconds *= change;
  // A longer context or a hotter device changes all times alike.
  if (burst_left_ > 0 || k != settled_ || cost.n < 10) return;
  for (uint32_t other = 0; other <= k_max_; ++other) {
    if (other != k) costs_[other].seconds *= change;
  }
}

double DraftPolicy::acceptance_at(uint32_t i) const {
  double chance = kPriorChance;
  double weight = kPriorWeight;
  for (uint32_t j = 0; j <= i; ++j) {
    chance = (chances_.at(j).right + weight * chance) / (chances_.at(j).checked + weight);
    weight = kPriorWeightLater;
  }
  return chance;
}

double DraftPolicy::tokens_expected(uint32_t k) const {
  double tokens = 1;
  double all_right = 1;
  for (uint32_t i = 0; i < k; ++i) {
    all_right *= acceptance_at(i);
    tokens += all_right;
  }
  return tokens;
}

double DraftPolicy::rate(uint32_t k) const { return tokens_expected(k) / costs_[k].seconds; }

/// What trying k could come to: what was measured long ago may have changed, and what was not
/// measured may cost less than the cheapest draft that was.
double DraftPolicy::hopeful_rate(uint32_t k) const {
  if (costs_[k].n > 0) {
    const auto age = static_cast<double>(n_rounds_ - costs_[k].last_round);
    return rate(k) * (1 + age / kStaleRounds);
  }
  const double plain = costs_[0].seconds;
  std::optional<double> slope;
  for (uint32_t other = 1; other <= k_max_; ++other) {
    if (costs_[other].n == 0) continue;
    const double own = std::max(costs_[other].seconds - plain, 0.0) / other;
    slope = std::min(slope.value_or(own), own);
  }
  return tokens_expected(k) / (plain + kHopefulSlope * slope.value_or(0) * k);
}

/// The most hopeful k that is not in use, of all or of those that were never measured, if it could
/// pay. Plain steps teach nothing of drafts: beside them one is tried in any case.
std::optional<uint32_t> DraftPolicy::find_candidate(bool unmeasured) const {
  if (costs_[1].n == 0) return 1;  // first of all: what a draft costs
  std::optional<uint32_t> best;
  for (uint32_t k = 0; k <= k_max_; ++k) {
    if (k == settled_ || (unmeasured && costs_[k].n > 0)) continue;
    if (!best.has_value() || hopeful_rate(k) > hopeful_rate(*best)) best = k;
  }
  if (!best.has_value()) return best;
  const bool in_any_case = !unmeasured && settled_ == 0;
  if (!in_any_case && hopeful_rate(*best) < rate(settled_) * (1 + kMargin)) best.reset();
  return best;
}

void DraftPolicy::begin_burst(uint32_t k) {
  tried_ = k;
  burst_left_ = kBurst;
  burst_rounds_ = burst_right_ = burst_tokens_ = 0;
}

void DraftPolicy::end_burst() {
  if (costs_[0].n == 0) return begin_burst(0);  // what everything is compared with
  if (settled_ == 0 && burst_right_ * 2 > burst_rounds_ && burst_rounds_ < kLongestBurst) {
    burst_left_ = kBurst;
    return;
  }
  // By the time known now: what a hiccup costs would have been lost anyway.
  const double could_have = burst_rounds_ * costs_[tried_].seconds * rate(settled_);
  if (tried_ != settled_ && costs_[tried_].n > 0) loss_ += could_have - burst_tokens_;
  const bool switched = settle(kMargin);
  if (const std::optional<uint32_t> k = find_candidate(true)) return begin_burst(*k);
  if (switched) interval_ = std::max(interval_ / 4, kFirstInterval);
  const double rest = std::max(loss_, 0.0) / (kLargestLoss * tokens_expected(settled_));
  next_burst_ = n_rounds_ + std::max(interval_, static_cast<uint64_t>(std::min(rest, 1e6)));
  loss_ = 0;
  interval_ = std::min(interval_ * 2, settled_ == 0 ? kLastInterval : kLastIntervalDrafting);
}

/// Changes to the best k that was measured, if it is better by the margin.
bool DraftPolicy::settle(double margin) {
  uint32_t best = settled_;
  for (uint32_t k = 0; k <= k_max_; ++k) {
    if (costs_[k].n > 0 && rate(k) > rate(best)) best = k;
  }
  if (best == settled_ || rate(best) < rate(settled_) * (1 + margin)) return false;
  settled_ = best;
  settled_round_ = n_rounds_;
  ++n_switches_;
  return true;
}

}  // namespace kimberlite::runtime
