#include "kernels/accept_oracle.hpp"

#include <algorithm>

#include "base/result.hpp"
#include "shaders/sample.h"

namespace kimberlite::kernels {
namespace {

using shaders::Column;
using shaders::SequenceState;

/// One step: what a sequence does with the token that its column draws.
void emit(SequenceState& state, Column& column, uint32_t token) {
  column.token = token;
  ++column.position;
  state.position = column.position + 1;
  ++state.n_emitted;
  state.done = shaders::kRunning;
  if (state.position >= state.context_limit) state.done = shaders::kDoneContextLimit;
  if (state.n_emitted >= state.token_limit) state.done = shaders::kDoneTokenLimit;
  const auto stop = std::span(state.stop).first(std::min(state.n_stop, shaders::kMaxStopIds));
  if (std::ranges::count(stop, token) != 0) state.done = shaders::kDoneStopId;
  column.is_active = state.done == shaders::kRunning ? 1 : 0;
}

bool is_right(const Column& draft, uint32_t token, uint32_t agree) {
  if (draft.is_active == 0) return false;
  return agree == 0 ? draft.token == token : shaders::agree_hash(draft.position) < agree;
}

}  // namespace

HostAdvance advance_on_host(const HostRound& round) {
  const size_t n = round.columns.size();
  KL_CHECK(n >= 1 && round.drawn.size() == n, "a draw for each column");
  HostAdvance out{round.state, round.columns[0], {}, {}, {}};
  if (out.column.is_active == 0 || out.state.done != shaders::kRunning) return out;

  size_t n_right = 0;  // leading drafts that are what a step would have drawn
  for (size_t i = 0; i < n && out.state.done == shaders::kRunning; ++i) {
    if (i > n_right) break;
    if (!round.drawn[i].has_value()) {
      out.state.done = shaders::kDoneNoCandidate;
      out.column.is_active = 0;
      break;
    }
    const uint32_t token = *round.drawn[i];
    emit(out.state, out.column, token);
    out.tokens.push_back(token);
    out.hidden_row = static_cast<uint32_t>(i);
    if (i + 1 < n && is_right(round.columns[i + 1], token, round.agree)) ++n_right;
  }
  const auto inactive = std::find_if(round.columns.begin() + 1, round.columns.end(),
                                     [](const Column& column) { return column.is_active == 0; });
  out.report = {out.state.n_emitted,
                out.state.done,
                out.state.position,
                out.column.token,
                static_cast<uint32_t>(inactive - round.columns.begin()) - 1,
                static_cast<uint32_t>(n_right)};
  return out;
}

}  // namespace kimberlite::kernels
