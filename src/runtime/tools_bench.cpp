// kimberlite/tools.hpp: the copy bandwidth of a model's device, and kernels timed one by one.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "graph/executable.hpp"
#include "kernels/bench_cases.hpp"
#include "runtime/api.hpp"
#include "runtime/bandwidth.hpp"
#include "runtime/open_device.hpp"
#include "vk/recorder.hpp"

namespace kimberlite {
namespace {

constexpr uint32_t kMinReplays = 5;
constexpr uint32_t kMaxReplays = 200;
constexpr double kMaxSeconds = 0.25;  // of one case, once it has its fewest replays

/// Numbers that were never written may be slow ones (denormals, NaN); zeros are not.
Status clear(vk::Device& device, const vk::Buffer& buffer) {
  KL_ASSIGN(vk::Recorder recorder, vk::Recorder::begin(device, "clear"));
  recorder.fill({&buffer, 0, buffer.n_bytes()}, 0);
  KL_ASSIGN(const vk::CommandBuffer commands, recorder.finish());
  return device.run(commands.get());
}

/// The device's own time of the whole graph, or the host's around a replay where the queue has no
/// timestamps.
Result<double> replay_us(vk::Device& device, const graph::Executable& executable) {
  const auto start = std::chrono::steady_clock::now();
  KL_TRY(device.run(executable.commands()));
  const std::chrono::duration<double, std::micro> elapsed =
      std::chrono::steady_clock::now() - start;
  const auto nodes = executable.node_times(device);
  if (!nodes.ok()) {
    if (nodes.error().code == ErrorCode::unsupported) return elapsed.count();
    return nodes.error();
  }
  double sum = 0;
  for (const graph::NodeTime& node : *nodes) sum += node.microseconds;
  return sum;
}

Result<KernelCase> time_case(runtime::OpenDevice& open, const kernels::BenchCase& bench_case) {
  vk::Device& device = *open.device;
  graph::Graph graph(device.caps());
  bench_case.build(graph);
  const graph::Plan plan = graph::make_plan(graph);
  KL_ASSIGN(const vk::Buffer scratch,
            vk::Buffer::make(device, std::max<uint64_t>(plan.scratch_bytes, 16),
                             vk::MemoryKind::device, "scratch of " + bench_case.name));
  KL_TRY(clear(device, scratch));
  graph::ExecutableOptions record;
  record.name = bench_case.name;
  record.timestamps =
      device.snapshot().queue_families[device.plan().queue_family].timestamp_bits > 0;
  KL_ASSIGN(const graph::Executable executable,
            graph::Executable::make(device, *open.pipelines, graph, plan,
                                    {&scratch, 0, scratch.n_bytes()}, record));
  KernelCase timed{bench_case.kernel,  std::string(graph.nodes().front().variant->name),
                   bench_case.name,    0,
                   bench_case.n_bytes, 2 * bench_case.n_macs};
  KL_TRY(replay_us(device, executable));  // the first one warms up
  double total_seconds = 0;
  for (uint32_t i = 0; i < kMaxReplays; ++i) {
    KL_ASSIGN(const double us, replay_us(device, executable));
    timed.microseconds = i == 0 ? us : std::min(timed.microseconds, us);
    total_seconds += us * 1e-6;
    if (i + 1 >= kMinReplays && total_seconds > kMaxSeconds) break;
  }
  return timed;
}

}  // namespace

Result<double> measure_copy_bandwidth(Model& model) {
  return runtime::measure_copy_bandwidth(Access::engine(model).device());
}

Result<std::vector<KernelCase>> bench_kernels(const std::string& kernel,
                                              const ModelOptions& options) {
  KL_ASSIGN(runtime::OpenDevice open,
            runtime::open_device({options.device, options.validation, 0, "none"}));
  const std::vector<kernels::BenchCase> cases = kernels::bench_cases(open.device->caps());
  std::set<std::string> known;
  for (const kernels::BenchCase& bench_case : cases) known.insert(bench_case.kernel);
  if (!kernel.empty() && !known.contains(kernel)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("no kernel with benchmark cases is called '{}'; there are {}", kernel,
                             fmt::join(known, ", "))};
  }
  std::vector<KernelCase> timed;
  size_t n_done = 0;
  for (const kernels::BenchCase& bench_case : cases) {
    if (!kernel.empty() && bench_case.kernel != kernel) continue;
    if (options.progress) {
      options.progress(bench_case.kernel + " " + bench_case.name,
                       static_cast<double>(n_done) / static_cast<double>(cases.size()));
    }
    KL_ASSIGN(KernelCase one, time_case(open, bench_case));
    timed.push_back(std::move(one));
    ++n_done;
  }
  return timed;
}

}  // namespace kimberlite
