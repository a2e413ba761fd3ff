// Executable: a graph recorded once into command buffers that are replayed as often as needed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "graph/plan.hpp"
#include "vk/descriptors.hpp"
#include "vk/pipeline.hpp"
#include "vk/recorder.hpp"

namespace kimberlite::graph {

/// The pipeline of a node on this device. Module: the variant's, with "_texel" where the kernel has
/// a wide binding and the device loads those through texel buffers.
[[nodiscard]] vk::PipelineSpec pipeline_spec(const Node& node, const vk::Caps& caps);

/// Every distinct pipeline of a graph, for PipelineCache::prepare.
[[nodiscard]] std::vector<vk::PipelineSpec> pipeline_specs(const Graph& graph);

struct ExecutableOptions {
  std::string name = "graph";
  bool timestamps = false;  // one before the first and one after every node; costs time
  /// Command buffers that the nodes are spread over, at most: what may be submitted apart where all
  /// together would occupy the device for too long. One with timestamps.
  uint32_t n_parts = 1;
  /// Leaves out the n-th barrier: only for the test that proves that barriers are needed.
  std::optional<uint32_t> omit_barrier;
};

/// Time and traffic of one node in the last replay.
struct NodeTime {
  std::string label;
  std::string kernel;
  std::string work;  // Node::work
  double microseconds = 0;
  uint64_t bytes_touched = 0;
};

/// Replays run one after another on the device's queue; each waits for everything submitted
/// before it, host writes included, and its results are visible to the host after wait().
class Executable {
 public:
  /// `scratch` must hold make_plan(graph).scratch_bytes; executables that never run at the same
  /// time may share it. Tensors of the graph must outlive the executable; the graph need not.
  /// Errors: those of pipelines and descriptors; out_of_memory where scratch is too small.
  static Result<Executable> make(vk::Device& device, vk::PipelineCache& pipelines,
                                 const Graph& graph, const Plan& plan,
                                 const vk::BufferRange& scratch,
                                 const ExecutableOptions& options = {});

  /// All of it, where it has one part.
  [[nodiscard]] VkCommandBuffer commands() const;
  /// To be submitted in this order, in as many submissions as one likes.
  [[nodiscard]] std::span<const VkCommandBuffer> parts() const { return handles_; }
  [[nodiscard]] uint32_t n_dispatches() const { return n_dispatches_; }
  /// In their order, without times.
  [[nodiscard]] std::span<const NodeTime> nodes() const { return nodes_; }
  [[nodiscard]] uint32_t n_barriers() const { return n_barriers_; }
  [[nodiscard]] uint64_t bytes_touched() const { return bytes_touched_; }

  /// After a replay with timestamps has finished. Errors: device, unsupported.
  Result<std::vector<NodeTime>> node_times(const vk::Device& device) const;

 private:
  explicit Executable(vk::Device& device) : descriptors_(device) {}
  Status record(vk::Device& device, vk::PipelineCache& pipelines, const Graph& graph,
                const Plan& plan, const vk::BufferRange& scratch, const ExecutableOptions& options,
                uint32_t first, uint32_t last);

  vk::DescriptorArena descriptors_;
  std::vector<vk::CommandBuffer> parts_;
  std::vector<VkCommandBuffer> handles_;  // of parts_
  std::vector<NodeTime> nodes_;           // labels; times are filled in by node_times
  uint32_t n_dispatches_ = 0;
  uint32_t n_barriers_ = 0;
  uint64_t bytes_touched_ = 0;
};

}  // namespace kimberlite::graph
