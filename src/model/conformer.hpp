// The encoder of sounds as graphs: convolutions over mel frames, then conformer layers of two
// feedforward blocks, local attention and a light convolution. One graph for each part, so that a
// long sound's work can be cut between them.
#pragma once

#include "graph/graph.hpp"
#include "model/projector_config.hpp"
#include "model/projector_weights.hpp"

namespace kimberlite::model {

/// Mel frames of a sound; rows behind the last frame are not read.
struct MelInputs {
  graph::Tensor frames;  // f32 [4 * n, kMelBins]
  graph::Tensor sizes;   // u32 [2]: frames, and half of them, rounded up
};

/// Makes the rows x f32 [n, width] of mel frames; n a multiple of 8, as below.
void add_conformer_input(graph::Graph& graph, const ConformerConfig& config,
                         const ConformerWeights& weights, const MelInputs& inputs,
                         const graph::Tensor& x);

/// Layer `index`: y of x, both f32 [n, width] and not the same; x does not outlive it. Each row
/// depends on itself and those before it alone.
void add_conformer_layer(graph::Graph& graph, const ConformerConfig& config,
                         const ConformerWeights& weights, uint32_t index, const graph::Tensor& x,
                         const graph::Tensor& y);

/// embeddings f32 [n, target_width] of the last layer's rows.
void add_conformer_output(graph::Graph& graph, const ConformerConfig& config,
                          const AudioWeights& weights, const graph::Tensor& x,
                          const graph::Tensor& embeddings);

}  // namespace kimberlite::model
