// The encoder of pictures as graphs: a transformer over patches that all see each other. A
// picture's graphs are made in steps, each over some of the patches, so that a submission takes as
// many as it has time for.
#pragma once

#include "graph/graph.hpp"
#include "model/projector_config.hpp"
#include "model/projector_weights.hpp"

namespace kimberlite::model {

/// A picture on its way through the encoder. n_rows: the patches and what pads them to a multiple
/// of 8.
struct TowerPicture {
  uint32_t n_patches = 0;  // row by row
  uint32_t n_x = 0;        // tokens of a row
  graph::Tensor values;    // f32 [n_rows, n_patch_values] in -1 to 1, a plane for each colour
  graph::Tensor columns;   // u32 [n_rows, 4], Columns: x as the token; the rest is not read
  graph::Tensor rows;      // u32 [n_rows, 4], Columns: n_positions + y as the token
  graph::Tensor places;    // u32 [n_rows, 2]: x and y
  graph::Tensor angles;    // f32 [n_places, head_dim / 2]: kernels::make_rope_2d_table
  graph::Tensor x;         // f32 [n_rows, width], as k and v: the residual stream
  graph::Tensor k;         // of the layer that is computed
  graph::Tensor v;
};

/// Rows of a step; both multiples of 8, and such that views of the rows start where they may.
struct RowRange {
  uint32_t first = 0;
  uint32_t n = 0;
};

/// x = patches and their places.
void add_tower_patches(graph::Graph& graph, const VisionConfig& config,
                       const VisionWeights& weights, const TowerPicture& picture, RowRange range);

/// k and v of a layer, which all of its rows need.
void add_tower_keys(graph::Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                    const TowerPicture& picture, uint32_t layer, RowRange range);

/// x = what the layer makes of it, behind add_tower_keys of all rows.
void add_tower_layer(graph::Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                     const TowerPicture& picture, uint32_t layer, RowRange range);

/// embeddings f32 [n, target_width] of the tokens; n: the tokens and what pads them to a multiple
/// of 8, or less than 8.
void add_tower_tokens(graph::Graph& graph, const VisionConfig& config, const VisionWeights& weights,
                      const TowerPicture& picture, const graph::Tensor& embeddings);

/// Multiply-accumulates of a step of a layer.
[[nodiscard]] uint64_t count_key_macs(const VisionConfig& config, uint64_t n_rows);
[[nodiscard]] uint64_t count_layer_macs(const VisionConfig& config, uint64_t n_rows,
                                        uint64_t n_keys);

}  // namespace kimberlite::model
