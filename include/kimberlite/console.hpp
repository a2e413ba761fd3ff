// What a command line needs of the operating system, so that programs on top of Kimberlite include
// none of its headers. Thread rule: call these from main().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kimberlite {

/// Where the standard streams lead.
struct Console {
  bool input_is_terminal = false;
  bool output_is_terminal = false;
  bool errors_are_terminal = false;
};
Console console();

/// The program's arguments as UTF-8 on every system, the program's name left out, from what main()
/// was given. On Windows the console is switched to UTF-8 as well.
std::vector<std::string> program_arguments(int argc, char** argv);

/// "12.3 MB" or "4.56 GB", in powers of ten; what the library's messages use.
std::string size_text(uint64_t n_bytes);

}  // namespace kimberlite
