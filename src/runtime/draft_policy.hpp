// DraftPolicy: how many tokens to draft in the next round. Pure: it knows how long rounds took and
// how many drafts were right, and nothing else. Its choices change speed, never tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "kimberlite/generation.hpp"

namespace kimberlite::runtime {

/// What a finished round was; k = 0 is a plain step.
struct DraftRound {
  uint32_t k = 0;           // drafts that its executable makes
  uint32_t n_drafts = 0;    // SequenceReport: those that were active,
  uint32_t n_accepted = 0;  // and right
  uint32_t n_emitted = 0;   // tokens of this round
  double seconds = 0;
};

/// Expects the tokens of a round from the chance of each draft, given that those before it were
/// right, and its time from rounds with as many drafts; picks the most tokens per second.
///
/// What is not in use is tried in bursts of three rounds: at first everything that could pay, then
/// at intervals that double while nothing comes of it, 32 to 512 rounds, and more where bursts
/// would cost over 1 % of the tokens. A choice changes for a gain of 1.5 %, and within 32 rounds of
/// the last change for one of 10 %. Evidence fades within some hundred rounds, so that a lucky
/// burst brings drafting back.
class DraftPolicy {
 public:
  /// `k_max` up to kMaxDrafts. With `fixed` every round has so many drafts.
  explicit DraftPolicy(uint32_t k_max, std::optional<uint32_t> fixed = {});

  /// From now on; what was learned is kept.
  void limit(uint32_t k_max, std::optional<uint32_t> fixed);

  /// Drafts of the next round; the same until a round is recorded.
  [[nodiscard]] uint32_t pick() const;

  /// A round may have had another k than was picked: its time counts, its burst goes on.
  void record(const DraftRound& round);

  // Since the beginning.
  [[nodiscard]] uint64_t n_rounds() const { return n_rounds_; }  // plain steps included
  [[nodiscard]] uint64_t n_emitted() const { return n_emitted_; }
  [[nodiscard]] uint64_t n_drafted() const { return n_drafted_; }
  [[nodiscard]] uint64_t n_accepted() const { return n_accepted_; }
  /// Of the drafts number `i` from 0 whose predecessors were right: how many there were and how
  /// many of them were right.
  [[nodiscard]] uint64_t n_checked_at(uint32_t i) const { return chances_.at(i).n_checked; }
  [[nodiscard]] uint64_t n_accepted_at(uint32_t i) const { return chances_.at(i).n_right; }
  [[nodiscard]] uint64_t n_switches() const { return n_switches_; }  // of the settled choice

  // What it believes at present.
  [[nodiscard]] uint32_t settled() const { return fixed_.value_or(settled_); }
  [[nodiscard]] double acceptance_at(uint32_t i) const;
  [[nodiscard]] double tokens_expected(uint32_t k) const;

 private:
  struct Chance {
    double right = 0;  // decayed
    double checked = 0;
    uint64_t n_right = 0;
    uint64_t n_checked = 0;
  };
  struct Cost {
    double seconds = 0;
    uint64_t n = 0;  // rounds measured
    uint64_t last_round = 0;
  };

  void record_acceptance(const DraftRound& round);
  void record_seconds(uint32_t k, double seconds);
  void begin_burst(uint32_t k);
  void end_burst();
  bool settle(double margin);
  [[nodiscard]] double rate(uint32_t k) const;
  [[nodiscard]] double hopeful_rate(uint32_t k) const;
  [[nodiscard]] std::optional<uint32_t> find_candidate(bool unmeasured) const;

  uint32_t k_max_ = 0;
  std::optional<uint32_t> fixed_;
  std::array<Chance, kMaxDrafts> chances_{};
  std::array<Cost, kMaxDrafts + 1> costs_{};

  uint32_t settled_ = 0;
  uint64_t settled_round_ = 0;  // when it became that
  uint64_t interval_;           // rounds between bursts
  uint64_t next_burst_ = 0;     // round
  uint64_t n_bursts_ = 0;       // by the interval
  double loss_ = 0;             // tokens that the bursts since the last interval have cost

  // The burst under way.
  uint32_t tried_ = 0;  // k
  uint32_t burst_left_ = 0;
  uint32_t burst_rounds_ = 0;
  uint32_t burst_tokens_ = 0;
  uint32_t burst_right_ = 0;  // rounds with a right draft

  uint64_t n_rounds_ = 0;
  uint64_t n_emitted_ = 0;
  uint64_t n_drafted_ = 0;
  uint64_t n_accepted_ = 0;
  uint64_t n_switches_ = 0;
};

}  // namespace kimberlite::runtime
