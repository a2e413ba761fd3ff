// Weights of the encoder of pictures.
#pragma once

#include <vector>

#include "graph/tensor.hpp"
#include "model/clipped_linear.hpp"

namespace kimberlite::model {

struct TowerLayerWeights {
  graph::Tensor attn_norm;       // ln1, f32 [width], as the three others of that width
  graph::Tensor q_norm;          // f32 [head_dim]
  graph::Tensor k_norm;          // f32 [head_dim]
  graph::Tensor post_attn_norm;  // attn_post_norm
  graph::Tensor ffn_norm;        // ln2
  graph::Tensor post_ffn_norm;   // ffn_post_norm
  ClippedLinearWeights q;        // [width, width], as k, v and o
  ClippedLinearWeights k;
  ClippedLinearWeights v;
  ClippedLinearWeights o;
  ClippedLinearWeights gate;  // [ffn_width, width]
  ClippedLinearWeights up;    // [ffn_width, width]
  ClippedLinearWeights down;  // [width, ffn_width]
};

struct TowerWeights {
  std::vector<TowerLayerWeights> layers;
  graph::Tensor head_ones;   // f32 [head_dim]: weights of the norm that has none
  graph::Tensor std_bias;    // f32 [width], as the next; not valid() without them
  graph::Tensor std_factor;  // std_scale
};

}  // namespace kimberlite::model
