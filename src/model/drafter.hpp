// A drafter as a graph: one guess of the next token from the token before it, the target's hidden
// state, and the target's keys and values.
#pragma once

#include "graph/graph.hpp"
#include "kernels/kv_layout.hpp"
#include "model/drafter_config.hpp"
#include "model/drafter_weights.hpp"

namespace kimberlite::model {

/// Device memory of a round of drafts, owned by the runtime. A round at position P has the target's
/// keys and values of positions 0 to P - 1, whatever lies behind them; all its drafts are made at
/// P.
struct DrafterState {
  graph::Tensor token;     // u32 [1, 4], a Column: its token is looked up; the rest is not read
  graph::Tensor position;  // u32 [1, 4], a Column: position P, sequence and is_active; no token
  graph::Tensor input;  // f32 [1, 2 * target width]: the token's embedding (written by the step),
                        // then the hidden state: the target's of P - 1 behind its final norm
                        // for the first draft, what the step before left for the others
  kernels::KvCacheView sliding;  // of the target's layers that check_pair names
  kernels::KvCacheView full;
  graph::Tensor rope_sliding;  // the target's: kernels::make_rope_table
  graph::Tensor rope_full;
};

/// Adds one draft. logits: f32 [1, n_vocab]; kernels::kNoLogit for tokens that a sparse head leaves
/// out. With `keep_hidden` the next draft's hidden state is left in the input: not wanted behind
/// the last draft.
void add_draft_step(graph::Graph& graph, const DrafterConfig& config, const DrafterWeights& weights,
                    const Weights& target, const DrafterState& state, const graph::Tensor& logits,
                    bool keep_hidden);

}  // namespace kimberlite::model
