// A projector as graphs: embeddings of patches and of frames in the space of a decoder, each row
// from its own values alone.
#pragma once

#include "graph/graph.hpp"
#include "model/projector_config.hpp"
#include "model/projector_weights.hpp"

namespace kimberlite::model {

/// Patches of a picture and where they are. Rows in multiples of 8.
struct PatchInputs {
  graph::Tensor values;   // f32 [n, n_values] in 0 to 1, a plane for each colour
  graph::Tensor columns;  // u32 [n, 4], Columns: x as the token; the rest is not read
  graph::Tensor rows;     // u32 [n, 4], Columns: n_positions + y as the token
};

/// Adds what makes embeddings f32 [n, target_width] of patches.
void add_patch_embeddings(graph::Graph& graph, const ProjectorConfig& config,
                          const ProjectorWeights& weights, const PatchInputs& inputs,
                          const graph::Tensor& embeddings);

/// The same of frames f32 [n, n_samples], n a multiple of 8.
void add_frame_embeddings(graph::Graph& graph, const ProjectorConfig& config,
                          const ProjectorWeights& weights, const graph::Tensor& frames,
                          const graph::Tensor& embeddings);

/// embeddings = projection(rms(x)), the norm without weights: what every projector ends with.
void add_projection(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& ones,
                    float eps, const kernels::PackedMatrix& projection,
                    const graph::Tensor& embeddings, const std::string& name);

}  // namespace kimberlite::model
