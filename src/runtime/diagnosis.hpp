// What kimberlite/doctor.hpp does with kernels: the checks of the probe, all made anew and
// remembered where Engine finds them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "kimberlite/doctor.hpp"
#include "runtime/probe.hpp"

namespace kimberlite::runtime {

/// What most models use, in each weight type that is common. `segments`: the caches of full layers
/// come in them.
[[nodiscard]] ProbeRequest common_request(const vk::Caps& caps, bool segments);

/// `corrupt`: as of ProbeRequest, for tests.
Result<Diagnosis> diagnose(
    const DiagnoseOptions& options,
    std::function<void(std::string_view kernel, std::string_view variant, std::span<float>)>
        corrupt = {});

}  // namespace kimberlite::runtime
