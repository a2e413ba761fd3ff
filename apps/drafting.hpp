// Drafting as users meet it: how many drafts a round, and how they went.
#pragma once

#include <optional>
#include <string>

#include "apps/common.hpp"

namespace kimberlite::cli {

struct DraftArguments {
  uint32_t most = kMaxDrafts;
  std::optional<uint32_t> always;
};

/// --spec-draft-n-max and --spec-draft-n.
void add_draft_options(CLI::App& command, DraftArguments& arguments);
void set_drafts(GenerateOptions& options, const DraftArguments& arguments);

/// "MTP on (k=3, acceptance 0.71)", or why it is off or drafts nothing.
std::string drafting_text(const DraftStatistics& drafting);
Json drafting_json(const DraftStatistics& drafting);

}  // namespace kimberlite::cli
