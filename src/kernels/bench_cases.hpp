// Kernels at the shapes that decide the engine's speed, for `bench --kernel`. Every tensor is a
// transient of the graph: weights and inputs are whatever the scratch buffer holds (zeros when
// fresh).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace kimberlite::kernels {

struct BenchCase {
  std::string kernel;                        // "matvec"
  std::string name;                          // "q4_0 3840x3840 n1"
  std::function<void(graph::Graph&)> build;  // adds the node or nodes to be timed
  uint64_t n_bytes = 0;                      // read and written once
  uint64_t n_macs = 0;                       // multiply-accumulates; 0 where that says nothing
};

/// All cases that the device can run, in a fixed order.
[[nodiscard]] std::vector<BenchCase> bench_cases(const vk::Caps& caps);

}  // namespace kimberlite::kernels
