// Kernels that compute every element of rows on its own, four to an invocation.
#pragma once

#include <algorithm>
#include <string>

#include "base/numeric.hpp"
#include "graph/graph.hpp"

namespace kimberlite::kernels {

/// Of a row.
inline uint32_t count_vec4(const graph::Tensor& rows) {
  return static_cast<uint32_t>(rows.shape[1] / 4);
}

/// A node over rows: f32 [n, width], width a multiple of 4; with everything but tensors, push
/// constants and bytes_touched.
inline graph::Node make_element_node(const graph::Graph& graph, const graph::KernelDesc& kernel,
                                     const graph::Tensor& rows, std::string label) {
  KL_CHECK(rows.dtype == graph::DType::f32 && rows.shape.rank() == 2 && rows.shape[1] % 4 == 0,
           "rows of a multiple of 4");
  KL_CHECK(rows.n_elements() <= UINT32_MAX, "more elements than 32 bits count");
  const uint32_t workgroup = std::min<uint32_t>(256, graph.caps().max_workgroup_size);
  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = std::move(label);
  node.constants = {workgroup};
  node.grid = {div_up(count_vec4(rows), workgroup), static_cast<uint32_t>(rows.shape[0]), 1};
  return node;
}

}  // namespace kimberlite::kernels
