// Small JSON files of what was found out about a device and its driver, each with the key of what
// it is good for.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.hpp"

namespace kimberlite::runtime {

/// An empty object where the file is absent, damaged or has another "key".
[[nodiscard]] nlohmann::json read_report(const std::string& path, const std::string& key);

/// Replaces the file in one step. Errors: io.
Status write_report(const std::string& path, const nlohmann::json& report);

}  // namespace kimberlite::runtime
