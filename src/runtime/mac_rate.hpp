// What a device's arithmetic could do: the yardstick of products, as copies are of decoding.
#pragma once

#include <vector>

#include "base/result.hpp"
#include "kernels/packed_matrix.hpp"
#include "vk/device.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::runtime {

/// The classes that products run in on such a device: float32, then int8 where it is faster.
[[nodiscard]] std::vector<kernels::LinearClass> product_classes(const vk::Caps& caps);

/// Multiply-accumulates per second of the class in registers, best of several. Takes about half a
/// second. Errors: out_of_memory, device, device_lost.
Result<double> measure_mac_rate(vk::Device& device, vk::PipelineCache& pipelines,
                                kernels::LinearClass linear_class);

}  // namespace kimberlite::runtime
