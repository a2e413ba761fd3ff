#include "base/size_text.hpp"

#include <fmt/format.h>

namespace kimberlite {

std::string size_text(uint64_t n_bytes) {
  const auto n = static_cast<double>(n_bytes);
  return n < 1e9 ? fmt::format("{:.1f} MB", n * 1e-6) : fmt::format("{:.2f} GB", n * 1e-9);
}

}  // namespace kimberlite
