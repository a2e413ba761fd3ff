// What was found out about a driver, as a small JSON file. Internal to the probe.
#pragma once

#include <string>

#include "base/result.hpp"
#include "runtime/probe.hpp"
#include "vk/caps.hpp"
#include "vk/snapshot.hpp"

namespace kimberlite::runtime {

/// What a report is good for: the device, its driver, this build with every SPIR-V module, and the
/// capabilities that kernels are picked by.
[[nodiscard]] std::string probe_key(const vk::DeviceSnapshot& snapshot, const vk::Caps& caps);

/// An empty report where the file is absent, damaged or has another key.
[[nodiscard]] ProbeReport read_probe_cache(const std::string& path, const std::string& key);

/// Replaces the file in one step. Errors: io.
Status write_probe_cache(const std::string& path, const std::string& key,
                         const ProbeReport& report);

}  // namespace kimberlite::runtime
