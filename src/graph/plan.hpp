// From a graph to scratch offsets and barriers: pure functions, no device.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.hpp"

namespace kimberlite::graph {

struct Plan {
  std::vector<uint64_t> transient_offsets;  // in the scratch buffer, one for each transient
  uint64_t scratch_bytes = 0;
  std::vector<bool> barrier_before;  // one for each node
};

/// Places transients whose lifetimes do not meet on the same bytes (greedy by size), then walks the
/// nodes and puts a barrier before each one that meets an unfinished write, or writes what an
/// unfinished node still touches. Reuse of scratch bytes is such a hazard like any other.
[[nodiscard]] Plan make_plan(const Graph& graph);

}  // namespace kimberlite::graph
