// Lines that a user types, with editing and history where libedit is compiled in. The history is
// never written anywhere.
#pragma once

#include <optional>
#include <string>

namespace kimberlite::cli {

class LineReader {
 public:
  LineReader();
  /// The next line without its end; nothing at the end of input (Ctrl-D). The prompt goes to
  /// stderr.
  std::optional<std::string> read(const char* prompt);
};

}  // namespace kimberlite::cli
