// The device's own copy bandwidth: the yardstick for every speed that is reported.
#pragma once

#include "base/result.hpp"
#include "vk/device.hpp"

namespace kimberlite::runtime {

/// Bytes per second of a large copy inside device memory, read and write counted, best of several.
/// Takes under a second and up to 512 MiB for that time. Errors: out_of_memory, device,
/// device_lost.
Result<double> measure_copy_bandwidth(vk::Device& device);

}  // namespace kimberlite::runtime
