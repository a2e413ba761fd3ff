#include "runtime/memory_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/size_text.hpp"

namespace kimberlite::runtime {
namespace {

constexpr uint32_t kContextStep = 256;

uint64_t budget(const MemoryDemand& demand) {
  return static_cast<uint64_t>(static_cast<double>(demand.usable_bytes) * kPlannedShare);
}

/// Whole snapshots in at most `n_bytes`.
uint64_t whole_snapshots(const MemoryDemand& demand, uint64_t n_bytes) {
  if (demand.snapshot_bytes == 0) return 0;
  const uint64_t limit = std::min(n_bytes, kMaxSnapshotBytes);
  return limit / demand.snapshot_bytes * demand.snapshot_bytes;
}

/// Beside `reserved_bytes`.
Result<uint32_t> fit_context(const MemoryDemand& demand, uint32_t n_gpu_layers,
                             uint64_t reserved_bytes) {
  const uint64_t smallest = std::min(kContextStep, demand.max_context);
  const uint64_t fixed = planned_bytes(demand, n_gpu_layers, 0);
  const uint64_t needed = planned_bytes(demand, n_gpu_layers, static_cast<uint32_t>(smallest));
  if (needed > budget(demand)) {
    return Error{
        ErrorCode::out_of_memory,
        fmt::format("weights and caches for {} positions need {}, the device has {} to use",
                    smallest, size_text(needed), size_text(budget(demand)))};
  }
  if (demand.kv_position_bytes == 0) return demand.max_context;
  const uint64_t fits = (budget(demand) - fixed - reserved_bytes) / demand.kv_position_bytes;
  if (fits >= demand.max_context) return demand.max_context;
  return static_cast<uint32_t>(std::max<uint64_t>(fits / kContextStep * kContextStep, smallest));
}

}  // namespace

uint64_t planned_bytes(const MemoryDemand& demand, uint32_t n_gpu_layers, uint32_t context) {
  uint64_t n_bytes = demand.shared_bytes + demand.kv_fixed_bytes + demand.scratch_bytes +
                     demand.kv_position_bytes * context;
  for (uint32_t i = 0; i < n_gpu_layers; ++i) n_bytes += demand.layer_bytes[i];
  return n_bytes;
}

Result<uint32_t> pick_gpu_layers(const MemoryDemand& demand, std::optional<uint32_t> requested) {
  const auto n_layers = static_cast<uint32_t>(demand.layer_bytes.size());
  if (requested) {
    if (*requested > n_layers) {
      return Error{
          ErrorCode::invalid_argument,
          fmt::format("{} layers asked for on the GPU, the model has {}", *requested, n_layers)};
    }
    return *requested;
  }
  // With one memory for both there is no second place to go to; pick_context says if it is too
  // small.
  if (demand.unified_memory) return n_layers;
  const uint32_t context = std::min(kPlacementContext, demand.max_context);
  if (planned_bytes(demand, 0, context) > budget(demand)) {
    return Error{ErrorCode::out_of_memory,
                 fmt::format("the device has {} to use; embedding, caches for {} positions and "
                             "scratch alone need {}",
                             size_text(budget(demand)), context,
                             size_text(planned_bytes(demand, 0, context)))};
  }
  uint32_t n = n_layers;
  while (n > 0 && planned_bytes(demand, n, context) > budget(demand)) --n;
  return n;
}

Result<uint32_t> largest_context(const MemoryDemand& demand, uint32_t n_gpu_layers) {
  return fit_context(demand, n_gpu_layers, 0);
}

Result<uint32_t> pick_context(const MemoryDemand& demand, uint32_t n_gpu_layers) {
  const uint64_t fixed = planned_bytes(demand, n_gpu_layers, 0);
  const uint64_t left = budget(demand) > fixed ? budget(demand) - fixed : 0;
  return fit_context(demand, n_gpu_layers, whole_snapshots(demand, left / kSnapshotShare));
}

uint64_t snapshot_budget(const MemoryDemand& demand, uint32_t n_gpu_layers, uint32_t context) {
  const uint64_t planned = planned_bytes(demand, n_gpu_layers, context);
  return budget(demand) > planned ? whole_snapshots(demand, budget(demand) - planned) : 0;
}

}  // namespace kimberlite::runtime
