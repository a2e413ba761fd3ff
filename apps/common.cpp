#include "apps/common.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "kimberlite/console.hpp"

namespace kimberlite::cli {

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::context_full:
      return kExitUsage;
    case ErrorCode::io:
    case ErrorCode::bad_file:
    case ErrorCode::unsupported:
      return kExitModel;
    case ErrorCode::no_device:
    case ErrorCode::device:
    case ErrorCode::device_lost:
      return kExitDevice;
    case ErrorCode::out_of_memory:
      return kExitMemory;
    case ErrorCode::cancelled:
      return kExitInterrupted;
  }
  return kExitUsage;
}

int fail(const Error& error) {
  std::string line;  // errors that list something do so over several lines
  for (const char c : error.message) {
    const bool is_space = c == '\n' || c == ' ';
    if (!is_space || !line.ends_with(' ')) line += is_space ? ' ' : c;
  }
  fmt::print(stderr, "kimberlite: {}\n", terminal_safe(line));
  return exit_code(error.code);
}

int fail_usage(std::string_view message) {
  return fail({ErrorCode::invalid_argument, std::string(message)});
}

Error with_force_hint(Error error) {
  if (error.message.ends_with("exists already")) error.message += "; --force replaces it";
  return error;
}

std::optional<uint32_t> parse_count(std::string_view text) {
  uint64_t unit = 1;
  if (text.ends_with('k') || text.ends_with('K')) unit = 1024;
  if (text.ends_with('m') || text.ends_with('M')) unit = 1024 * 1024;
  if (unit != 1) text.remove_suffix(1);
  uint32_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const uint64_t count = value * unit;
  return count <= UINT32_MAX ? std::optional(static_cast<uint32_t>(count)) : std::nullopt;
}

Result<std::vector<int32_t>> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int32_t id = 0;
    const auto [next, failure] = std::from_chars(at, end, id);
    if (failure != std::errc() || (next != end && *next != ',')) {
      return Error{ErrorCode::invalid_argument,
                   fmt::format("'{}' is no list of token ids, such as 2,9259", text)};
    }
    ids.push_back(id);
    if (next == end) return ids;
    at = next + 1;
  }
}

CLI::Validator count_check() {
  const auto check = [](const std::string& text) {
    return parse_count(text) ? std::string()
                             : fmt::format("'{}' is no count, such as 4096 or 64k", text);
  };
  return {check, "N"};
}

CLI::Validator to_lower() {
  const auto change = [](std::string& text) {
    text = CLI::detail::to_lower(text);
    return std::string();
  };
  return {change, ""};
}

Result<std::string> read_text(const std::string& path) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  const std::filesystem::path file_path(std::u8string(path.begin(), path.end()));
  std::ifstream file(file_path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(file_path, ignored)) {
    return Error{ErrorCode::invalid_argument, path + ": cannot read"};
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string terminal_safe(std::string_view text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {  // C1: U+0080 to U+009F
      safe += fmt::format("\\x{:02x}", next);
      ++i;
    } else if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      safe += fmt::format("\\x{:02x}", byte);
    } else {
      safe += text[i];
    }
  }
  return safe;
}

void print_json(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

Json device_json(const DeviceInfo& info) {
  return {{"index", info.index},   {"name", info.name},     {"type", info.type},
          {"driver", info.driver}, {"uuid", info.uuid},     {"memory_bytes", info.memory_bytes},
          {"usable", info.usable}, {"reason", info.reason}, {"chosen", info.chosen}};
}

double rate(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

ProgressLine::ProgressLine()
    : is_terminal_(console().errors_are_terminal),
      next_(Clock::now() + std::chrono::milliseconds(200)) {}

void ProgressLine::show(std::string_view what, double fraction) {
  const auto now = Clock::now();
  if (!is_terminal_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  const std::string line = fmt::format("{} {:3.0f} %", terminal_safe(what), fraction * 100);
  fmt::print(stderr, "\r{:<{}}", line, n_columns_);
  std::fflush(stderr);
  n_columns_ = line.size();
}

void ProgressLine::clear() {
  if (n_columns_ == 0) return;
  fmt::print(stderr, "\r{:{}}\r", "", n_columns_);
  std::fflush(stderr);
  n_columns_ = 0;
}

Progress ProgressLine::callback() {
  if (!is_terminal_) return {};
  return [this](std::string_view what, double fraction) { show(what, fraction); };
}

}  // namespace kimberlite::cli
