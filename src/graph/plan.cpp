#include "graph/plan.hpp"

#include <algorithm>
#include <numeric>

#include "base/numeric.hpp"

namespace kimberlite::graph {
namespace {

struct Lifetime {
  size_t first = SIZE_MAX;
  size_t last = 0;
  [[nodiscard]] bool used() const { return first != SIZE_MAX; }
  [[nodiscard]] bool meets(const Lifetime& other) const {
    return first <= other.last && other.first <= last;
  }
};

std::vector<Lifetime> find_lifetimes(const Graph& graph) {
  std::vector<Lifetime> lifetimes(graph.transients().size());
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const Tensor& tensor : graph.nodes()[i].tensors) {
      if (tensor.transient == Tensor::kExternal) continue;
      Lifetime& lifetime = lifetimes[tensor.transient];
      const Transient& transient = graph.transients()[tensor.transient];
      lifetime.first = std::min(lifetime.first, transient.zeroed ? 0 : i);
      const bool to_the_end = transient.kept || transient.zeroed;
      lifetime.last = std::max(lifetime.last, to_the_end ? graph.nodes().size() : i);
    }
  }
  return lifetimes;
}

/// Largest first, each at the lowest offset that no living neighbour holds.
void place_transients(const Graph& graph, Plan& plan) {
  const std::vector<Lifetime> lifetimes = find_lifetimes(graph);
  const uint64_t alignment = graph.caps().storage_alignment;
  plan.transient_offsets.assign(lifetimes.size(), 0);

  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return graph.transients()[a].n_bytes > graph.transients()[b].n_bytes;
  });

  std::vector<size_t> placed;
  for (const size_t index : order) {
    if (!lifetimes[index].used()) continue;
    const uint64_t n_bytes = graph.transients()[index].n_bytes;
    std::vector<std::pair<uint64_t, uint64_t>> taken;  // [begin, end) of living neighbours
    for (const size_t other : placed) {
      if (!lifetimes[index].meets(lifetimes[other])) continue;
      const uint64_t begin = plan.transient_offsets[other];
      taken.emplace_back(begin, begin + graph.transients()[other].n_bytes);
    }
    std::sort(taken.begin(), taken.end());
    uint64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + n_bytes <= begin) break;
      offset = std::max(offset, align_up(end, alignment));
    }
    plan.transient_offsets[index] = offset;
    plan.scratch_bytes = std::max(plan.scratch_bytes, offset + n_bytes);
    placed.push_back(index);
  }
}

/// A byte range that nodes since the last barrier have touched.
struct Touch {
  const vk::Buffer* buffer;  // nullptr: the scratch buffer
  uint64_t begin;
  uint64_t end;
  bool written;

  [[nodiscard]] bool conflicts(const Touch& later) const {
    return buffer == later.buffer && begin < later.end && later.begin < end &&
           (written || later.written);
  }
};

std::vector<Touch> find_touches(const Node& node, const Plan& plan) {
  std::vector<Touch> touches;
  for (size_t i = 0; i < node.tensors.size(); ++i) {
    const Tensor& tensor = node.tensors[i];
    const bool scratch = tensor.transient != Tensor::kExternal;
    const uint64_t begin =
        tensor.offset_bytes + (scratch ? plan.transient_offsets[tensor.transient] : 0);
    touches.push_back({tensor.buffer, begin, begin + tensor.n_bytes,
                       node.kernel->bindings[i].access != Access::read});
  }
  return touches;
}

void derive_barriers(const Graph& graph, Plan& plan) {
  std::vector<Touch> open;
  for (const Node& node : graph.nodes()) {
    const std::vector<Touch> touches = find_touches(node, plan);
    const bool hazard = std::any_of(touches.begin(), touches.end(), [&](const Touch& later) {
      return std::any_of(open.begin(), open.end(),
                         [&](const Touch& earlier) { return earlier.conflicts(later); });
    });
    if (hazard) open.clear();
    plan.barrier_before.push_back(hazard);
    open.insert(open.end(), touches.begin(), touches.end());
  }
}

}  // namespace

Plan make_plan(const Graph& graph) {
  Plan plan;
  place_transients(graph, plan);
  derive_barriers(graph, plan);
  return plan;
}

}  // namespace kimberlite::graph
