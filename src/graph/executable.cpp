#include "graph/executable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "shaders/modules.hpp"

namespace kimberlite::graph {
namespace {

vk::BindingKind binding_kind(const BindingDesc& binding, const vk::Caps& caps) {
  return binding.wide && caps.wide_load == vk::WideLoad::texel ? vk::BindingKind::uniform_texel
                                                               : vk::BindingKind::storage;
}

std::vector<vk::BoundRange> bound_ranges(const Node& node, const Plan& plan,
                                         const vk::BufferRange& scratch, const vk::Caps& caps) {
  std::vector<vk::BoundRange> ranges;
  for (size_t i = 0; i < node.tensors.size(); ++i) {
    const Tensor& tensor = node.tensors[i];
    vk::BufferRange range{tensor.buffer, tensor.offset_bytes, tensor.n_bytes};
    if (tensor.transient != Tensor::kExternal) {
      range.buffer = scratch.buffer;
      range.offset_bytes += scratch.offset_bytes + plan.transient_offsets[tensor.transient];
    }
    ranges.push_back({range, binding_kind(node.kernel->bindings[i], caps)});
  }
  return ranges;
}

void record_zeros(vk::Recorder& recorder, const Graph& graph, const Plan& plan,
                  const vk::BufferRange& scratch) {
  for (size_t i = 0; i < graph.transients().size(); ++i) {
    const Transient& transient = graph.transients()[i];
    if (!transient.zeroed) continue;
    recorder.fill(
        {scratch.buffer, scratch.offset_bytes + plan.transient_offsets[i], transient.n_bytes}, 0);
  }
}

void record_node(vk::Recorder& recorder, const Node& node, const vk::Pipeline& pipeline,
                 VkDescriptorSet set) {
  recorder.begin_label(node.label.c_str());
  recorder.bind(pipeline, set);
  if (!node.push.empty()) {
    recorder.push(pipeline, node.push.data(), static_cast<uint32_t>(node.push.size()));
  }
  recorder.dispatch(node.grid[0], node.grid[1], node.grid[2]);
  recorder.end_label();
}

}  // namespace

vk::PipelineSpec pipeline_spec(const Node& node, const vk::Caps& caps) {
  std::string module(node.variant->module);
  if (node.kernel->has_wide_binding() && caps.wide_load == vk::WideLoad::texel) module += "_texel";
  const shaders::Module* found = shaders::find_module(module);
  KL_CHECK(found != nullptr, module.c_str());

  vk::PipelineSpec spec;
  spec.name = fmt::format("{}:{}", node.kernel->name, node.variant->name);
  spec.words = found->words;
  for (const BindingDesc& binding : node.kernel->bindings) {
    spec.bindings.push_back(binding_kind(binding, caps));
  }
  spec.push_bytes = node.kernel->push_bytes;
  // The same pipeline, whichever way it is asked for.
  if (node.subgroup_size != caps.subgroup_size) spec.subgroup_size = node.subgroup_size;
  spec.constants = node.constants;
  return spec;
}

std::vector<vk::PipelineSpec> pipeline_specs(const Graph& graph) {
  std::set<vk::PipelineSpec> distinct;
  for (const Node& node : graph.nodes()) distinct.insert(pipeline_spec(node, graph.caps()));
  return {distinct.begin(), distinct.end()};
}

Result<Executable> Executable::make(vk::Device& device, vk::PipelineCache& pipelines,
                                    const Graph& graph, const Plan& plan,
                                    const vk::BufferRange& scratch,
                                    const ExecutableOptions& options) {
  if (scratch.n_bytes < plan.scratch_bytes) {
    return Error{ErrorCode::out_of_memory,
                 fmt::format("{}: needs {} bytes of scratch, has {}", options.name,
                             plan.scratch_bytes, scratch.n_bytes)};
  }
  KL_CHECK(!options.timestamps || options.n_parts == 1, "timestamps of one command buffer");
  Executable executable(device);
  const auto n_nodes = static_cast<uint32_t>(graph.nodes().size());
  const uint32_t n_parts = std::clamp(options.n_parts, 1u, std::max(n_nodes, 1u));
  for (uint32_t part = 0; part < n_parts; ++part) {
    const auto bound = [&](uint64_t i) { return static_cast<uint32_t>(i * n_nodes / n_parts); };
    KL_TRY(executable.record(device, pipelines, graph, plan, scratch, options, bound(part),
                             bound(part + 1)));
  }
  executable.n_dispatches_ = n_nodes;
  return executable;
}

/// The nodes first to last - 1. Barriers reach across command buffers in the order of submission,
/// so a part begins with what its first node needs, as in the middle of another.
Status Executable::record(vk::Device& device, vk::PipelineCache& pipelines, const Graph& graph,
                          const Plan& plan, const vk::BufferRange& scratch,
                          const ExecutableOptions& options, uint32_t first, uint32_t last) {
  const auto n_nodes = static_cast<uint32_t>(graph.nodes().size());
  KL_ASSIGN(vk::Recorder recorder,
            vk::Recorder::begin(device, options.name, options.timestamps ? n_nodes + 1 : 0));
  if (first == 0) {
    record_zeros(recorder, graph, plan, scratch);
    recorder.barrier(vk::Access::host, vk::Access::compute);
    recorder.barrier(vk::Access::transfer, vk::Access::compute);
    recorder.compute_barrier();
    if (options.timestamps) recorder.timestamp(0);
  }
  for (uint32_t i = first; i < last; ++i) {
    const Node& node = graph.nodes()[i];
    KL_ASSIGN(const vk::Pipeline* pipeline, pipelines.get(pipeline_spec(node, graph.caps())));
    KL_ASSIGN(VkDescriptorSet set,
              descriptors_.add(*pipeline, bound_ranges(node, plan, scratch, graph.caps())));
    if (plan.barrier_before[i]) {
      if (options.omit_barrier != n_barriers_) recorder.compute_barrier();
      ++n_barriers_;
    }
    record_node(recorder, node, *pipeline, set);
    if (options.timestamps) recorder.timestamp(i + 1);
    nodes_.push_back(
        {node.label, std::string(node.kernel->name), node.work, 0, node.bytes_touched});
    bytes_touched_ += node.bytes_touched;
  }
  if (last == n_nodes) {
    recorder.barrier(vk::Access::compute, vk::Access::host);
    recorder.barrier(vk::Access::compute, vk::Access::transfer);
  }
  KL_ASSIGN(vk::CommandBuffer commands, recorder.finish());
  handles_.push_back(commands.get());
  parts_.push_back(std::move(commands));
  device.count_record();
  return {};
}

VkCommandBuffer Executable::commands() const {
  KL_CHECK(handles_.size() == 1, "an executable of one part");
  return handles_.front();
}

Result<std::vector<NodeTime>> Executable::node_times(const vk::Device& device) const {
  KL_ASSIGN(const std::vector<double> stamps, parts_.front().read_timestamps(device));
  std::vector<NodeTime> times = nodes_;
  for (size_t i = 0; i < times.size() && i + 1 < stamps.size(); ++i) {
    times[i].microseconds = (stamps[i + 1] - stamps[i]) / 1000.0;
  }
  return times;
}

}  // namespace kimberlite::graph
