// The text decoder as a graph: embedding, layers, final norm, logits. Knows no queue and no cache
// management; where K and V live and which columns run comes in as tensors.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.hpp"
#include "kernels/attention.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {

/// Device memory that the decoder reads and writes, owned by the runtime.
struct DecoderState {
  graph::Tensor columns;                     // Column[n_columns] as u32 [n_columns, 4]
  std::vector<kernels::KvCacheView> caches;  // one for each layer
  graph::Tensor rope_sliding;                // kernels::make_rope_table
  graph::Tensor rope_full;
  // Of a pass over pictures or sounds, else unset:
  graph::Tensor soft{};     // f32 [n, width]: embeddings in the place of those of tokens
  graph::Tensor sources{};  // u32 [n_columns, 1]: a row of `soft`, or shaders::kNoSource
};

struct DecoderOptions {
  /// f32 [n_columns, n_vocab]: where the logits go; unset = no head (prefill).
  std::optional<graph::Tensor> logits;
  /// f32 [n_columns, width]: where the output of the final norm goes; unset = scratch.
  std::optional<graph::Tensor> result;
  /// f32 [n_columns, width]: where the residual stream lives; unset = scratch. For tests.
  std::optional<graph::Tensor> residual;
  /// How many layers run; for tests that look into the residual stream.
  uint32_t n_layers = UINT32_MAX;
};

/// Adds a pass over the columns of `state`. Up to 8 columns take the decode kernels, in which a
/// column's result does not depend on the others; more take the prefill kernels, which want
/// consecutive positions of one sequence. Returns the output of the final norm, f32
/// [n_columns, width].
graph::Tensor add_decoder(graph::Graph& graph, const ModelConfig& config, const Weights& weights,
                          const DecoderState& state, const DecoderOptions& options);

}  // namespace kimberlite::model
