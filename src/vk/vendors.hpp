// What depends on who made the device or the driver: the only place where such names appear.
// Internal to vk.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vk/caps.hpp"
#include "vk/snapshot.hpp"

namespace kimberlite::vk {

/// "AMD", "Intel", ..., or "unknown vendor" for an id that we do not know.
std::string_view vendor_name(const DeviceSnapshot& snapshot);

/// Subgroup sizes to try, best first; where none is possible the device's own default is used.
std::span<const uint32_t> preferred_subgroup_sizes(const DeviceSnapshot& snapshot);

/// Whether uniform texel fetches stream big read-only data faster than storage buffers.
bool prefers_texel_loads(const DeviceSnapshot& snapshot);

/// Caps::register_words.
uint32_t register_words(const DeviceSnapshot& snapshot, uint32_t subgroup_size);

/// Caps::matrix_subgroup_size.
uint32_t matrix_subgroup_size(const DeviceSnapshot& snapshot, const Caps& caps);

/// Caps::max_loop_rounds.
uint32_t max_loop_rounds(const DeviceSnapshot& snapshot);

/// Compute units where no extension tells: an estimate on the low side of the vendor's range.
uint32_t estimated_compute_units(const DeviceSnapshot& snapshot);

}  // namespace kimberlite::vk
