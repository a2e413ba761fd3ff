// kimberlite/console.hpp: the streams and the arguments, from base/os.
#include "base/os.hpp"
#include "kimberlite/console.hpp"

namespace kimberlite {

Console console() {
  return {.input_is_terminal = os::stdin_is_terminal(),
          .output_is_terminal = os::stdout_is_terminal(),
          .errors_are_terminal = os::stderr_is_terminal()};
}

std::vector<std::string> program_arguments(int argc, char** argv) {
  return os::program_arguments(argc, argv);
}

}  // namespace kimberlite
