// A device for whatever the runtime does with it, its pipelines, and the files in the cache folder
// that remember them and what the probe found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "vk/device.hpp"
#include "vk/pipeline.hpp"
#include "vk/plan.hpp"

namespace kimberlite::runtime {

struct DeviceRequest {
  std::string selector;  // of vk::choose_device
  bool validation = false;
  uint64_t needed_bytes = 0;
  std::string cache_dir;  // "" = os::cache_dir(); "none" = nothing on disk
  vk::PlanOptions plan{};
};

struct OpenDevice {
  std::unique_ptr<vk::Instance> instance;
  std::unique_ptr<vk::Device> device;
  std::unique_ptr<vk::PipelineCache> pipelines;
  size_t index = 0;           // of the device among the instance's
  std::string reason;         // why this one
  std::string probe_file;     // ProbeRequest::cache_file
  std::string tuning_file;    // of Tuning; "": nothing on disk
  uint64_t needed_bytes = 0;  // that it was chosen for
  uint64_t usable_bytes = 0;
};

/// Errors: no_device, invalid_argument (a selector that fits none or several), unsupported, device,
/// out_of_memory.
Result<OpenDevice> open_device(const DeviceRequest& request);

}  // namespace kimberlite::runtime
