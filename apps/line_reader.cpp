#include "apps/line_reader.hpp"

#ifdef KIMBERLITE_LIBEDIT
#include <editline/readline.h>

#include <clocale>
#endif

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>

namespace kimberlite::cli {

#ifdef KIMBERLITE_LIBEDIT

LineReader::LineReader() {
  // libedit decodes what is typed by the locale; without one it would take bytes for characters.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  rl_readline_name = "kimberlite";
  rl_outstream = stderr;
  rl_catch_signals = 0;  // apps/interrupt has them; a Ctrl-C must not end the line
  using_history();
}

std::optional<std::string> LineReader::read(const char* prompt) {
  char* typed = ::readline(prompt);
  if (typed == nullptr) {
    fmt::print(stderr, "\n");
    return std::nullopt;
  }
  std::string line(typed);
  std::free(typed);
  if (!line.empty()) ::add_history(line.c_str());
  return line;
}

#else

LineReader::LineReader() = default;

std::optional<std::string> LineReader::read(const char* prompt) {
  fmt::print(stderr, "{}", prompt);
  std::fflush(stderr);
  std::string line;
  if (!std::getline(std::cin, line)) {
    fmt::print(stderr, "\n");
    return std::nullopt;
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

#endif

}  // namespace kimberlite::cli
