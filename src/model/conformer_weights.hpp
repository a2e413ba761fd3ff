// ConformerWeights: the tensors of the encoder of sounds. Names in comments are those of the file.
#pragma once

#include <array>
#include <vector>

#include "model/clipped_linear.hpp"
#include "model/conformer_config.hpp"

namespace kimberlite::model {

/// A feedforward block, which half of its result is added of: ffn_norm, ffn_up, ffn_down and
/// ffn_post_norm, or those that end in _1.
struct HalfStepWeights {
  graph::Tensor norm;
  ClippedLinearWeights up;
  ClippedLinearWeights down;
  graph::Tensor post_norm;  // times 0.5
};

struct ConformerLayerWeights {
  HalfStepWeights first;
  graph::Tensor attention_norm;  // attn_pre_norm
  ClippedLinearWeights q;
  ClippedLinearWeights k;
  ClippedLinearWeights v;
  kernels::PackedMatrix relative;  // attn_k_rel: of the positions below
  graph::Tensor scale;             // f32 [head_dim], of queries: per_dim_scale / (sqrt(d) ln 2)
  ClippedLinearWeights attention_out;
  graph::Tensor attention_post_norm;
  graph::Tensor conv_norm;        // conv_norm: in front of the light convolution
  ClippedLinearWeights conv_in;   // conv_pw1 [2 * width, width]
  graph::Tensor taps;             // conv_dw, f32 [taps, width]
  graph::Tensor conv_inner_norm;  // norm_conv: within it
  ClippedLinearWeights conv_out;  // conv_pw2
  HalfStepWeights second;
  graph::Tensor out_norm;  // ln2
};

struct ConvolutionWeights {
  graph::Tensor taps;  // f32 [3 * 3, c_in, c_out]
  graph::Tensor norm;  // f32 [c_out]
};

struct ConformerWeights {
  /// Rows of `positions`: as many as the window, filled up for products of many columns.
  static constexpr uint32_t kPositions = 16;

  std::array<ConvolutionWeights, 2> convolutions;
  kernels::PackedMatrix input;  // [width, n_input]
  graph::Tensor positions;      // f32 [kPositions, width]: sines, then cosines, of each distance
  std::vector<ConformerLayerWeights> layers;
  kernels::PackedMatrix output;  // [output_width, width]
  graph::Tensor output_bias;
};

}  // namespace kimberlite::model
