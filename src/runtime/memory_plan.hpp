// What goes where before anything is allocated: pure arithmetic over known sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::runtime {

struct MemoryDemand {
  uint64_t usable_bytes = 0;          // of the device (vk::usable_bytes)
  bool unified_memory = false;        // nothing to gain from "host" memory
  std::vector<uint64_t> layer_bytes;  // weights of each layer
  uint64_t shared_bytes = 0;          // weights that always go to the device
  uint64_t kv_fixed_bytes = 0;        // rings of the sliding layers
  uint64_t kv_position_bytes = 0;     // full layers, for each position of the context
  uint64_t snapshot_bytes = 0;        // one snapshot of the rings; 0: none are needed
  uint64_t scratch_bytes = 0;         // activations, tables, staging
  uint32_t max_context = 0;           // of the model
};

/// The share of the usable memory that Kimberlite plans with; the rest is for the driver, the
/// display and whoever else uses the device.
inline constexpr double kPlannedShare = 0.92;

/// The context that layers are placed for where not everything fits.
inline constexpr uint32_t kPlacementContext = 8192;

/// The most memory that snapshots of the rings take.
inline constexpr uint64_t kMaxSnapshotBytes = uint64_t{1} << 30;

/// Where the context is picked, snapshots get one part in so many of what weights and rings leave.
inline constexpr uint64_t kSnapshotShare = 8;

/// How many layers, from the first on, fit the device beside the caches. `requested` overrides
/// (errors: invalid_argument beyond the number of layers). Errors: out_of_memory where not even the
/// shared weights fit.
Result<uint32_t> pick_gpu_layers(const MemoryDemand& demand, std::optional<uint32_t> requested);

/// The largest context, a multiple of 256, whose caches fit beside the weights; at most the
/// model's. Errors: out_of_memory, with the bytes, where not even 256 positions fit.
Result<uint32_t> largest_context(const MemoryDemand& demand, uint32_t n_gpu_layers);

/// The same, with room for snapshots.
Result<uint32_t> pick_context(const MemoryDemand& demand, uint32_t n_gpu_layers);

/// Bytes of the snapshots that fit beside caches of that context, a multiple of snapshot_bytes.
[[nodiscard]] uint64_t snapshot_budget(const MemoryDemand& demand, uint32_t n_gpu_layers,
                                       uint32_t context);

/// Device bytes with that context.
[[nodiscard]] uint64_t planned_bytes(const MemoryDemand& demand, uint32_t n_gpu_layers,
                                     uint32_t context);

}  // namespace kimberlite::runtime
