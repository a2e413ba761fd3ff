// Values between two bounds. Shader: clip.comp.
#pragma once

#include <limits>
#include <string>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kClip;

struct Bounds {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();

  /// Whether no value lies outside.
  [[nodiscard]] bool are_open() const {
    return low == -std::numeric_limits<float>::infinity() &&
           high == std::numeric_limits<float>::infinity();
  }
  bool operator==(const Bounds&) const = default;
};

/// y = min(max(x, low), high). x, y: f32 [n, width], width a multiple of 4; y may be x.
void add_clip(graph::Graph& graph, const graph::Tensor& x, const graph::Tensor& y,
              const Bounds& bounds, std::string label);

}  // namespace kimberlite::kernels
