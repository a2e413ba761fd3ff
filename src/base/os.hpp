// The operating system, as far as Kimberlite needs it. Implemented in os_posix.cpp and
// os_windows.cpp; no other file in src/ outside src/vk may include an OS header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::os {

/// A per-user folder for caches, created if missing: $XDG_CACHE_HOME/kimberlite or
/// ~/.cache/kimberlite; %LOCALAPPDATA%\kimberlite on Windows. UTF-8.
Result<std::string> cache_dir();

/// The value of an environment variable (UTF-8), if set and not empty.
std::optional<std::string> environment(const char* name);

/// Physical memory of this machine in bytes (0 where unknown).
uint64_t physical_memory_bytes();

/// Asks for large pages behind memory that has not been touched yet. A hint: nothing is reported.
void prefer_huge_pages(void* address, uint64_t n_bytes);

/// Peak resident set of this process in bytes (0 where unknown).
uint64_t peak_resident_bytes();

/// True for a file that may be run.
bool is_program(const std::string& path);

/// Replaces `to` by `from` in one step; both on the same volume.
Status replace_file(const std::string& from, const std::string& to);

/// True where standard output / standard input is a terminal.
bool stdout_is_terminal();
bool stdin_is_terminal();
bool stderr_is_terminal();

/// The running program's file (UTF-8); nothing where the system does not say.
std::optional<std::string> program_path();

/// The program's arguments as UTF-8, the program's name left out, from what main() was given. On
/// Windows the console is switched to UTF-8 as well.
std::vector<std::string> program_arguments(int argc, char** argv);

}  // namespace kimberlite::os
