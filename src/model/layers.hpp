// The layers of a decoder as a graph: what a model and its drafter have in common. Internal to
// model.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "graph/graph.hpp"
#include "kernels/attention.hpp"
#include "kernels/linear.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {

/// What the layers work with.
struct LayerStack {
  const ModelConfig& config;              // Borrowed, like the next three.
  std::span<const LayerWeights> weights;  // one for each layer of the config
  const graph::Tensor& output_norm;
  std::span<const kernels::KvCacheView> caches;  // one for each layer
  graph::Tensor columns;                         // u32 [n, 4]
  graph::Tensor rope_sliding;
  graph::Tensor rope_full;
  graph::Tensor x{};          // f32 [n, width]: residual stream, updated
  graph::Tensor per_layer{};  // f32 [n, n_layers * per_layer_width], where the config has a width
  kernels::OwnKey own_key = kernels::OwnKey::seen;
  uint32_t n_layers = 0;      // that run; behind the config's last one comes the final norm
  std::string_view prefix{};  // of labels
  graph::Tensor result{};     // f32 [n, width]: where the result goes; unset: scratch
  /// Which matrices multiply the result; nullptr: none. It is there in float32 in any case.
  std::array<const kernels::PackedMatrix*, 3> readers{};
};

/// Adds the layers; returns what the norm behind them makes of x.
kernels::LinearInput add_layers(graph::Graph& graph, const LayerStack& stack);

}  // namespace kimberlite::model
