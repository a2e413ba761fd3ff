#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

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

namespace os {

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
