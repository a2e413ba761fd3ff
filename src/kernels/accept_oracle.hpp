// Acceptance of drafts on the host: the reference of sample_advance.comp, one column and several.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "shaders/common/columns.h"
#include "shaders/common/sequence.h"

namespace kimberlite::kernels {

/// One sequence before a pass.
struct HostRound {
  shaders::SequenceState state{};
  /// The pending token, then drafts, at consecutive positions.
  std::vector<shaders::Column> columns;
  /// What each column draws; nothing where no logit is a candidate. Read at running columns alone.
  std::vector<std::optional<uint32_t>> drawn;
  uint32_t agree = 0;  // AcceptOptions::agree
};

/// What the pass changes.
struct HostAdvance {
  shaders::SequenceState state;
  shaders::Column column;        // the first one
  std::vector<uint32_t> tokens;  // emitted: to the ring from state.n_emitted on, and counted
  /// The column whose hidden state comes next; unset where nothing was emitted.
  std::optional<uint32_t> hidden_row;
  /// Unset where the sequence does not run. n_emitted, position and last_token are not written
  /// where nothing was emitted.
  std::optional<shaders::SequenceReport> report;
};

[[nodiscard]] HostAdvance advance_on_host(const HostRound& round);

}  // namespace kimberlite::kernels
