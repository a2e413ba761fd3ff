// The Windows half of base: mapped files, the cache folder, the environment, the console. Paths and
// names are UTF-8 outside and UTF-16 inside.
#include <windows.h>
// windows.h comes first: the headers below rely on its types.
#include <io.h>
#include <psapi.h>
#include <shellapi.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "base/child_process.hpp"
#include "base/mapped_file.hpp"
#include "base/os.hpp"

namespace kimberlite {
namespace {

std::wstring to_wide(const std::string& utf8) {
  const int n_in = static_cast<int>(utf8.size());
  const int n = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), n_in, nullptr, 0);
  std::wstring wide(static_cast<size_t>(n), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), n_in, wide.data(), n);
  return wide;
}

std::string to_utf8(const std::wstring& wide) {
  const int n_in = static_cast<int>(wide.size());
  const int n = ::WideCharToMultiByte(CP_UTF8, 0, wide.data(), n_in, nullptr, 0, nullptr, nullptr);
  std::string utf8(static_cast<size_t>(n), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, wide.data(), n_in, utf8.data(), n, nullptr, nullptr);
  return utf8;
}

Error io_error(const std::string& path, const char* action) {
  const auto code = static_cast<int>(::GetLastError());
  return {ErrorCode::io, path + ": " + action + ": " + std::system_category().message(code)};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  // Others may read, rename or delete the file meanwhile, as on Linux; nobody may write to it.
  const HANDLE file =
      ::CreateFileW(to_wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                    nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) return io_error(path, "cannot open");
  if (::GetFileType(file) != FILE_TYPE_DISK) {
    ::CloseHandle(file);
    return Error{ErrorCode::io, path + ": not a regular file"};
  }
  LARGE_INTEGER size{};
  if (::GetFileSizeEx(file, &size) == 0) {
    Error error = io_error(path, "cannot stat");
    ::CloseHandle(file);
    return error;
  }
  MappedFile mapped;
  mapped.path_ = path;
  mapped.n_bytes_ = static_cast<size_t>(size.QuadPart);
  if (mapped.n_bytes_ > 0) {
    const HANDLE mapping = ::CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
    const void* address =
        mapping != nullptr ? ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0) : nullptr;
    if (address == nullptr) {
      Error error = io_error(path, "cannot map");
      if (mapping != nullptr) ::CloseHandle(mapping);
      ::CloseHandle(file);
      mapped.n_bytes_ = 0;
      return error;
    }
    ::CloseHandle(mapping);  // The view keeps the mapping and the file alive.
    mapped.data_ = static_cast<const std::byte*>(address);
  }
  ::CloseHandle(file);
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::UnmapViewOfFile(data_);
}

void MappedFile::release(uint64_t offset_bytes, uint64_t n_bytes) const {
  SYSTEM_INFO info{};
  ::GetSystemInfo(&info);
  const uint64_t page = info.dwPageSize;
  const uint64_t first = (offset_bytes + page - 1) / page * page;
  const uint64_t last = (offset_bytes + n_bytes) / page * page;
  if (last > first && last <= n_bytes_) {
    // Unlocking pages that are not locked fails and, as documented, drops them from the working
    // set: the wanted effect, so the result says nothing.
    ::VirtualUnlock(const_cast<std::byte*>(data_) + first, static_cast<SIZE_T>(last - first));
  }
}

struct ChildProcess::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (process != nullptr) ::TerminateProcess(process, 1);
    finish();
  }

  /// Nothing more is read; what it says on standard error is, to its end.
  DWORD finish() {
    if (output != nullptr) ::CloseHandle(output);
    output = nullptr;
    if (listener.joinable()) listener.join();
    DWORD status = 0;
    if (process != nullptr) {
      ::WaitForSingleObject(process, INFINITE);
      ::GetExitCodeProcess(process, &status);
      ::CloseHandle(process);
    }
    process = nullptr;
    return status;
  }

  HANDLE process = nullptr;
  HANDLE output = nullptr;
  std::string errors;
  std::thread listener;  // of standard error, so that a full pipe never stops the child
};

namespace {

constexpr size_t kMaxErrorBytes = 4096;

/// The end to write to is the child's.
struct Pipe {
  ~Pipe() {
    if (from != nullptr) ::CloseHandle(from);
    if (to != nullptr) ::CloseHandle(to);
  }
  bool make() {
    SECURITY_ATTRIBUTES inherited{sizeof(inherited), nullptr, TRUE};
    return ::CreatePipe(&from, &to, &inherited, 0) != 0 &&
           ::SetHandleInformation(from, HANDLE_FLAG_INHERIT, 0) != 0;
  }
  HANDLE take() { return std::exchange(from, nullptr); }
  HANDLE from = nullptr;
  HANDLE to = nullptr;
};

void listen(HANDLE from, std::string& errors) {
  char buffer[1024];
  DWORD n = 0;
  while (::ReadFile(from, buffer, sizeof(buffer), &n, nullptr) != 0 && n > 0) {
    errors.append(buffer, std::min<size_t>(n, kMaxErrorBytes - errors.size()));
  }
  ::CloseHandle(from);
}

/// One argument as CommandLineToArgvW reads it: in quotes, quotes escaped, and backslashes doubled
/// where a quote follows them.
std::string quote(const std::string& argument) {
  std::string quoted = "\"";
  size_t n_backslashes = 0;
  for (const char c : argument) {
    if (c == '"') quoted.append(n_backslashes + 1, '\\');
    n_backslashes = c == '\\' ? n_backslashes + 1 : 0;
    quoted += c;
  }
  quoted.append(n_backslashes, '\\');
  return quoted + '"';
}

}  // namespace

ChildProcess::ChildProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChildProcess::~ChildProcess() = default;
ChildProcess::ChildProcess(ChildProcess&& other) noexcept = default;
ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept = default;

Result<ChildProcess> ChildProcess::start(const std::string& program,
                                         const std::vector<std::string>& arguments) {
  Pipe output, errors;
  if (!output.make() || !errors.make()) return io_error(program, "no pipe to it");
  std::string line = quote(program);
  for (const std::string& argument : arguments) line += ' ' + quote(argument);
  std::wstring wide_line = to_wide(line);
  STARTUPINFOW startup{};
  startup.cb = sizeof(startup);
  startup.dwFlags = STARTF_USESTDHANDLES;
  startup.hStdOutput = output.to;
  startup.hStdError = errors.to;
  PROCESS_INFORMATION started{};
  if (::CreateProcessW(to_wide(program).c_str(), wide_line.data(), nullptr, nullptr, TRUE,
                       CREATE_NO_WINDOW, nullptr, nullptr, &startup, &started) == 0) {
    return io_error(program, "cannot start");
  }
  ::CloseHandle(started.hThread);
  auto state = std::make_unique<State>();
  state->process = started.hProcess;
  state->output = output.take();
  state->listener = std::thread(listen, errors.take(), std::ref(state->errors));
  return ChildProcess(std::move(state));
}

Result<size_t> ChildProcess::read(std::span<std::byte> out) {
  DWORD n = 0;
  const auto wanted = static_cast<DWORD>(std::min<size_t>(out.size(), 1u << 20));
  if (::ReadFile(state_->output, out.data(), wanted, &n, nullptr) != 0) return size_t{n};
  if (::GetLastError() == ERROR_BROKEN_PIPE) return size_t{0};
  return io_error("a child's output", "cannot read");
}

Result<int> ChildProcess::wait() { return static_cast<int>(state_->finish()); }

const std::string& ChildProcess::errors() const { return state_->errors; }

namespace os {

bool is_program(const std::string& path) {
  const DWORD attributes = ::GetFileAttributesW(to_wide(path).c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) == 0;
}

Result<std::string> cache_dir() {
  auto local = environment("LOCALAPPDATA");
  if (!local) return Error{ErrorCode::io, "no cache folder: LOCALAPPDATA is not set"};
  const std::string dir = *local + "\\kimberlite";
  std::error_code failure;
  std::filesystem::create_directories(to_wide(dir), failure);
  if (failure) return Error{ErrorCode::io, dir + ": cannot create: " + failure.message()};
  return dir;
}

std::optional<std::string> environment(const char* name) {
  const std::wstring wide_name = to_wide(name);
  const DWORD n = ::GetEnvironmentVariableW(wide_name.c_str(), nullptr, 0);
  if (n <= 1) return std::nullopt;
  std::wstring value(n, L'\0');
  const DWORD n_written = ::GetEnvironmentVariableW(wide_name.c_str(), value.data(), n);
  if (n_written == 0 || n_written >= n) return std::nullopt;  // changed in between
  value.resize(n_written);
  return to_utf8(value);
}

uint64_t physical_memory_bytes() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  return ::GlobalMemoryStatusEx(&status) != 0 ? status.ullTotalPhys : 0;
}

void prefer_huge_pages(void*, uint64_t) {}  // needs a privilege that users do not have

uint64_t peak_resident_bytes() {
  PROCESS_MEMORY_COUNTERS counters{};
  counters.cb = sizeof(counters);
  if (::K32GetProcessMemoryInfo(::GetCurrentProcess(), &counters, sizeof(counters)) == 0) return 0;
  return counters.PeakWorkingSetSize;
}

Status replace_file(const std::string& from, const std::string& to) {
  const DWORD flags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
  if (::MoveFileExW(to_wide(from).c_str(), to_wide(to).c_str(), flags) == 0) {
    return io_error(to, "cannot replace");
  }
  return {};
}

bool stdout_is_terminal() { return ::_isatty(::_fileno(stdout)) != 0; }
bool stdin_is_terminal() { return ::_isatty(::_fileno(stdin)) != 0; }
bool stderr_is_terminal() { return ::_isatty(::_fileno(stderr)) != 0; }

std::optional<std::string> program_path() {
  std::wstring path(32768, L'\0');  // the longest that there is
  const DWORD n = ::GetModuleFileNameW(nullptr, path.data(), static_cast<DWORD>(path.size()));
  if (n == 0 || n == path.size()) return std::nullopt;
  path.resize(n);
  return to_utf8(path);
}

std::vector<std::string> program_arguments(int, char**) {
  ::SetConsoleOutputCP(CP_UTF8);
  ::SetConsoleCP(CP_UTF8);
  std::vector<std::string> arguments;
  int n_arguments = 0;
  // main() got them in the machine's code page, which has no room for most of Unicode.
  LPWSTR* wide = ::CommandLineToArgvW(::GetCommandLineW(), &n_arguments);
  if (wide == nullptr) return arguments;
  for (int i = 1; i < n_arguments; ++i) arguments.push_back(to_utf8(wide[i]));
  ::LocalFree(wide);
  return arguments;
}

}  // namespace os
}  // namespace kimberlite
