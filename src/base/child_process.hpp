// A program that runs beside this one and is read while it prints. Implemented in os_posix.cpp and
// os_windows.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace kimberlite {

class ChildProcess {
 public:
  /// Starts the file `program` without a shell and with nothing on its standard input. Everything
  /// in UTF-8. Errors: io.
  static Result<ChildProcess> start(const std::string& program,
                                    const std::vector<std::string>& arguments);
  /// Ends it where it still runs.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  /// Waits for more of its standard output; returns how much of `out` was filled, 0 at the end.
  /// Errors: io.
  Result<size_t> read(std::span<std::byte> out);

  /// Closes its standard output and waits for its end. Returns its exit status, or 128 and the
  /// signal that ended it. Errors: io. At most once.
  Result<int> wait();

  /// What it said on standard error, its first kilobytes. Complete after wait().
  [[nodiscard]] const std::string& errors() const;

 private:
  struct State;
  explicit ChildProcess(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The file that a shell would run for `name`: the first of that name in the folders of PATH. The
/// working folder does not count unless PATH names it.
std::optional<std::string> find_program(const std::string& name);

}  // namespace kimberlite
