#include "runtime/mac_rate.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <set>

#include "base/numeric.hpp"
#include "graph/executable.hpp"
#include "kernels/mac_rate.hpp"
#include "kernels/registry.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {
namespace {

using kernels::LinearClass;

// 131,072 steps of an invocation: far more than its start and end cost, and few enough that the
// smallest grid ends in milliseconds on the slowest device.
constexpr uint32_t kRounds = 1024;
// For each compute unit, at the least; a multiple of every device's workgroup.
constexpr uint64_t kUnitInvocations = 512;
constexpr uint64_t kMaxInvocations = uint64_t{1} << 21;  // of a grid in one axis
// Long enough for the cost of a submission, some 50 us, to vanish; no display waits for so long.
constexpr double kBatchSeconds = 0.05;
constexpr uint32_t kRepetitions = 5;

/// Values that neither grow nor vanish, so that no step is a slow one.
constexpr float kFloatA = -0.9f;
constexpr float kFloatB = 1.25f;
constexpr uint32_t kIntegerA = 0xfd0281f7;
constexpr uint32_t kIntegerB = 0x01020304;

/// Seconds of `n` invocations, from the submission to its end: the shortest of `n_runs`.
Result<double> time_macs(vk::Device& device, vk::PipelineCache& pipelines, LinearClass linear_class,
                         uint64_t n, uint32_t n_runs) {
  KL_ASSIGN(const vk::Buffer buffer, vk::Buffer::make(device, kKiB + n * sizeof(uint32_t),
                                                      vk::MemoryKind::device, "rate of products"));
  const bool floats = linear_class == LinearClass::f32;
  const uint32_t operands[] = {floats ? std::bit_cast<uint32_t>(kFloatA) : kIntegerA,
                               floats ? std::bit_cast<uint32_t>(kFloatB) : kIntegerB};
  KL_TRY(vk::write_range(device, {&buffer, 0, sizeof(operands)}, operands, sizeof(operands)));
  graph::Graph graph(device.caps());
  kernels::add_mac_rate(
      graph, linear_class,
      graph::Tensor::of({&buffer, 0, sizeof(operands)}, graph::DType::u32, {2}),
      graph::Tensor::of({&buffer, kKiB, n * sizeof(uint32_t)}, graph::DType::u32, graph::Shape{n}),
      kRounds, "mac_rate");
  KL_ASSIGN(const graph::Executable executable,
            graph::Executable::make(device, pipelines, graph, graph::make_plan(graph),
                                    {&buffer, 0, kKiB}, {}));
  double best = 0;
  for (uint32_t i = 0; i < n_runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    KL_TRY(device.run(executable.commands()));
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = i == 0 ? spent.count() : std::min(best, spent.count());
  }
  return best;
}

}  // namespace

std::vector<LinearClass> product_classes(const vk::Caps& caps) {
  std::set<LinearClass> classes{LinearClass::f32};
  for (const kernels::MatrixKind& kind : kernels::matrix_kinds()) {
    classes.insert(kernels::pick_linear_class(kind.type, 4096, 4096, caps, /*precise=*/false));
  }
  return {classes.begin(), classes.end()};
}

Result<double> measure_mac_rate(vk::Device& device, vk::PipelineCache& pipelines,
                                LinearClass linear_class) {
  const vk::Caps& caps = device.caps();
  const uint64_t n_least = caps.n_compute_units * kUnitInvocations;
  KL_ASSIGN(const double seconds, time_macs(device, pipelines, linear_class, n_least, 2));
  const double scale = std::max(kBatchSeconds / std::max(seconds, 1e-6), 1.0);
  const double wanted = static_cast<double>(n_least) * scale;
  const uint64_t n = std::min(static_cast<uint64_t>(wanted), kMaxInvocations) / kUnitInvocations *
                     kUnitInvocations;
  KL_ASSIGN(const double best, time_macs(device, pipelines, linear_class, n, kRepetitions));
  return static_cast<double>(kernels::count_macs(linear_class, caps, n, kRounds)) / best;
}

}  // namespace kimberlite::runtime
