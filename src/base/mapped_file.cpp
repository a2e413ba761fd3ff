#include "base/mapped_file.hpp"

#include <utility>

namespace kimberlite {

void MappedFile::swap(MappedFile& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(n_bytes_, other.n_bytes_);
  std::swap(path_, other.path_);
}

}  // namespace kimberlite
