#include "apps/drafting.hpp"

#include <fmt/format.h>

namespace kimberlite::cli {
namespace {

double ratio(uint64_t a, uint64_t b) {
  return rate(static_cast<double>(a), static_cast<double>(b));
}

}  // namespace

void add_draft_options(CLI::App& command, DraftArguments& arguments) {
  command.add_option("--spec-draft-n-max", arguments.most, "drafts a round at most [7]")
      ->check(CLI::Range(0u, kMaxDrafts))
      ->option_text("N");
  command.add_option("--spec-draft-n", arguments.always, "drafts a round, always [as it pays]")
      ->check(CLI::Range(0u, kMaxDrafts))
      ->option_text("N");
}

void set_drafts(GenerateOptions& options, const DraftArguments& arguments) {
  options.max_drafts = arguments.most;
  options.n_drafts = arguments.always;
}

std::string drafting_text(const DraftStatistics& drafting) {
  if (drafting.drafter.empty()) return fmt::format("MTP off: {}", drafting.reason);
  if (drafting.n_drafted == 0) return fmt::format("MTP on (k={})", drafting.n_drafts);
  const double acceptance = ratio(drafting.n_accepted, drafting.n_drafted);
  if (drafting.n_drafts == 0) {
    return fmt::format("MTP on (k=0, drafts cost more than they save here; acceptance {:.2f})",
                       acceptance);
  }
  return fmt::format("MTP on (k={}, acceptance {:.2f})", drafting.n_drafts, acceptance);
}

Json drafting_json(const DraftStatistics& drafting) {
  return {{"drafter", drafting.drafter},
          {"reason", drafting.reason},
          {"drafts_per_round", drafting.n_drafts},
          {"rounds", drafting.n_rounds},
          {"emitted", drafting.n_emitted},
          {"drafted", drafting.n_drafted},
          {"accepted", drafting.n_accepted},
          {"acceptance", ratio(drafting.n_accepted, drafting.n_drafted)},
          {"acceptance_by_position", drafting.acceptance},
          {"tokens_per_submission", ratio(drafting.n_emitted, drafting.n_rounds)}};
}

}  // namespace kimberlite::cli
