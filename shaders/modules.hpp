// Every SPIR-V module of the build, embedded in the program. Generated from manifest.cmake.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kimberlite::shaders {

struct Module {
  std::string_view name;            // as in manifest.cmake
  std::span<const uint32_t> words;  // SPIR-V; lives as long as the program
};

/// All modules, sorted by name.
[[nodiscard]] std::span<const Module> modules();

/// The module of that name, or nullptr.
[[nodiscard]] const Module* find_module(std::string_view name);

}  // namespace kimberlite::shaders
