// Sizes as users read them.
#pragma once

#include <cstdint>
#include <string>

namespace kimberlite {

/// "12.3 MB" or "4.56 GB", in powers of ten, as files and memory are sold.
std::string size_text(uint64_t n_bytes);

}  // namespace kimberlite
