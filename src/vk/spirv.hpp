// The little that vk must know about a SPIR-V module before the driver sees it. Internal to vk.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace kimberlite::vk {

/// Workgroup size of the module's entry point once specialisation constant i has the value
/// `constants[i]`; constants beyond the list keep their defaults. Nothing if the words are no
/// module or the module does not say.
std::optional<std::array<uint32_t, 3>> find_local_size(std::span<const uint32_t> words,
                                                       std::span<const uint32_t> constants);

}  // namespace kimberlite::vk
