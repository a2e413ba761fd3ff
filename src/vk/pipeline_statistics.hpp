// What a driver's compiler says of a pipeline: registers, spills, instructions, cycles. For
// tools/driver-lab; nothing in the engine depends on it.
#pragma once

#include <map>
#include <string>

#include "base/result.hpp"
#include "vk/device.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::vk {

struct PipelineStatistics {
  uint32_t subgroup_size = 0;
  std::map<std::string, double> values;         // by the driver's own names
  std::map<std::string, std::string> listings;  // internal representations that are text
};

/// Of a pipeline made by a device whose plan has pipeline_statistics. Where the driver compiled one
/// shader several times (Intel: for each subgroup size), the last, which is the widest. Errors:
/// unsupported (no statistics), device, out_of_memory.
Result<PipelineStatistics> read_statistics(const Device& device, const Pipeline& pipeline);

}  // namespace kimberlite::vk
