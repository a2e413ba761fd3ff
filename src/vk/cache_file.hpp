// The driver's pipeline cache blob on disk, wrapped so that a damaged or foreign file is seen
// before the driver sees it. Internal to vk.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/snapshot.hpp"

namespace kimberlite::vk {

/// What a cache file is good for: driver (UUIDs and version) and build.
std::string cache_key(const DeviceSnapshot& snapshot);

/// The blob of the file, or nothing if it is absent, damaged or has another key.
std::optional<std::vector<std::byte>> find_cached_blob(const std::string& path,
                                                       const std::string& key);

/// Replaces the file in one step. Errors: io.
Status write_cached_blob(const std::string& path, const std::string& key,
                         std::span<const std::byte> blob);

}  // namespace kimberlite::vk
