// What every command shares: exit codes, messages, numbers as users write them, text that is safe
// for a terminal, a progress line.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kimberlite/kimberlite.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {

/// Keys in the order in which they are written.
using Json = nlohmann::ordered_json;

enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 1,
  kExitModel = 2,
  kExitDevice = 3,
  kExitMemory = 4,
  kExitInterrupted = 130,
};

int exit_code(ErrorCode code);

/// Prints "kimberlite: MESSAGE" on stderr and returns the exit code that belongs to the error.
int fail(const Error& error);
int fail_usage(std::string_view message);
/// The same error, with the way out where a file exists already.
Error with_force_hint(Error error);

/// "4096", "64k", "1m": k and m are powers of 1024, as users mean them for a context.
std::optional<uint32_t> parse_count(std::string_view text);
/// "2,9259": at least one id.
Result<std::vector<int32_t>> parse_ids(const std::string& text);
/// A CLI11 check that takes what parse_count takes.
CLI::Validator count_check();

/// A CLI11 transform, for names that people write in capitals.
CLI::Validator to_lower();

/// The whole of a file ("-" is stdin), as bytes. Errors: invalid_argument, naming the file.
Result<std::string> read_text(const std::string& path);

/// The same text with control characters made visible, so that what a model writes or a file holds
/// cannot steer a terminal. Newlines and tabs stay.
std::string terminal_safe(std::string_view text);

/// One object or array and a newline on stdout; broken UTF-8 becomes U+FFFD.
void print_json(const Json& json);
/// As `devices` and `doctor` tell of a device.
Json device_json(const DeviceInfo& info);

/// `n` per second, 0 where no time was measured.
double rate(double n, double seconds);

/// One line on stderr that overwrites itself and is gone at the end; nothing where stderr is no
/// terminal. Appears only when the work takes longer than a blink.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(std::string_view what, double fraction);
  void clear();
  /// A Progress that draws here, or an empty one where nothing would be drawn.
  Progress callback();

 private:
  using Clock = std::chrono::steady_clock;
  bool is_terminal_;
  size_t n_columns_ = 0;  // drawn now
  Clock::time_point next_;
};

}  // namespace kimberlite::cli
