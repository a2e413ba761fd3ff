// A read-only memory-mapped file. The OS-specific half is in os_posix.cpp and os_windows.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.hpp"

namespace kimberlite {

/// Move-only owner of a mapping. Thread-safe for reading. An empty file maps to an empty span.
class MappedFile {
 public:
  /// Maps the regular file at `path` (UTF-8). Errors: io, naming the path and the reason.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, n_bytes_}; }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Tells the OS that these bytes will not be read again soon, so their pages can go.
  void release(uint64_t offset_bytes, uint64_t n_bytes) const;

 private:
  void swap(MappedFile& other) noexcept;

  const std::byte* data_ = nullptr;
  size_t n_bytes_ = 0;
  std::string path_;
};

}  // namespace kimberlite
