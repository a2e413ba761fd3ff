#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/child_process.hpp"
#include "base/mapped_file.hpp"
#include "base/os.hpp"

namespace kimberlite {
namespace {

Error io_error(const std::string& path, const char* action) {
  return {ErrorCode::io, path + ": " + action + ": " + std::strerror(errno)};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_error(path, "cannot open");
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    Error error = io_error(path, "cannot stat");
    ::close(fd);
    return error;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return Error{ErrorCode::io, path + ": not a regular file"};
  }
  MappedFile file;
  file.path_ = path;
  file.n_bytes_ = static_cast<size_t>(info.st_size);
  if (file.n_bytes_ > 0) {
    void* address = ::mmap(nullptr, file.n_bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      Error error = io_error(path, "cannot map");
      ::close(fd);
      file.n_bytes_ = 0;
      return error;
    }
    file.data_ = static_cast<const std::byte*>(address);
  }
  ::close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), n_bytes_);
}

void MappedFile::release(uint64_t offset_bytes, uint64_t n_bytes) const {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t first = (offset_bytes + page - 1) / page * page;
  const uint64_t last = (offset_bytes + n_bytes) / page * page;
  if (last > first && last <= n_bytes_) {
    ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
  }
}

struct ChildProcess::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (pid > 0) ::kill(pid, SIGKILL);
    finish();
  }

  /// Nothing more is read; what it says on standard error is, to its end.
  int finish() {
    if (output >= 0) ::close(output);
    output = -1;
    if (listener.joinable()) listener.join();
    int status = 0;
    if (pid > 0) {
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    }
    pid = -1;
    return status;
  }

  pid_t pid = -1;
  int output = -1;
  std::string errors;
  std::thread listener;  // of standard error, so that a full pipe never stops the child
};

namespace {

constexpr size_t kMaxErrorBytes = 4096;

struct Pipe {
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  int take(size_t i) { return std::exchange(ends[i], -1); }
  int ends[2] = {-1, -1};  // to read from, to write to
};

ssize_t read_some(int fd, void* out, size_t n_bytes) {
  ssize_t n = 0;
  do {
    n = ::read(fd, out, n_bytes);
  } while (n < 0 && errno == EINTR);
  return n;
}

void listen(int fd, std::string& errors) {
  char buffer[1024];
  for (ssize_t n = 0; (n = read_some(fd, buffer, sizeof(buffer))) > 0;) {
    const size_t room = kMaxErrorBytes - errors.size();
    errors.append(buffer, std::min(static_cast<size_t>(n), room));
  }
  ::close(fd);
}

}  // namespace

ChildProcess::ChildProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChildProcess::~ChildProcess() = default;
ChildProcess::ChildProcess(ChildProcess&& other) noexcept = default;
ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept = default;

Result<ChildProcess> ChildProcess::start(const std::string& program,
                                         const std::vector<std::string>& arguments) {
  Pipe output, errors;
  if (::pipe2(output.ends, O_CLOEXEC) != 0 || ::pipe2(errors.ends, O_CLOEXEC) != 0) {
    return io_error(program, "no pipe to it");
  }
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors.ends[1], STDERR_FILENO);
  auto state = std::make_unique<State>();
  errno = ::posix_spawn(&state->pid, program.c_str(), &actions, nullptr, argv.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (errno != 0) {
    state->pid = -1;
    return io_error(program, "cannot start");
  }
  state->output = output.take(0);
  state->listener = std::thread(listen, errors.take(0), std::ref(state->errors));
  return ChildProcess(std::move(state));
}

Result<size_t> ChildProcess::read(std::span<std::byte> out) {
  const ssize_t n = read_some(state_->output, out.data(), out.size());
  if (n < 0) return io_error("a child's output", "cannot read");
  return static_cast<size_t>(n);
}

Result<int> ChildProcess::wait() {
  const int status = state_->finish();
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

const std::string& ChildProcess::errors() const { return state_->errors; }

namespace os {

bool is_program(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

Result<std::string> cache_dir() {
  std::string dir;
  if (auto xdg = environment("XDG_CACHE_HOME")) {
    dir = *xdg;
  } else if (auto home = environment("HOME")) {
    dir = *home + "/.cache";
  } else {
    return Error{ErrorCode::io, "no cache folder: neither XDG_CACHE_HOME nor HOME is set"};
  }
  dir += "/kimberlite";
  std::error_code failure;
  std::filesystem::create_directories(dir, failure);
  if (failure) return Error{ErrorCode::io, dir + ": cannot create: " + failure.message()};
  return dir;
}

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

uint64_t physical_memory_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

void prefer_huge_pages(void* address, uint64_t n_bytes) {
#ifdef MADV_HUGEPAGE
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(address) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(address) + n_bytes) / page * page;
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)address;
  (void)n_bytes;
#endif
}

uint64_t peak_resident_bytes() {
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

Status replace_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return io_error(to, "cannot replace");
  return {};
}

bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

std::optional<std::string> program_path() {
  std::error_code failure;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (failure) return std::nullopt;
  return path.string();
}

std::vector<std::string> program_arguments(int argc, char** argv) {
  return argc > 1 ? std::vector<std::string>(argv + 1, argv + argc) : std::vector<std::string>();
}

}  // namespace os
}  // namespace kimberlite
