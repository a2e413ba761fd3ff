// Files that are written whole: whoever reads finds the old contents or the new, never a part.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace kimberlite {

/// Writes the parts, one behind the other, to a file beside `path`, which it then becomes in one
/// step. `what` says in a message what could not be written. Errors: io.
Status replace_contents(const std::string& path,
                        std::initializer_list<std::span<const std::byte>> parts,
                        std::string_view what);

}  // namespace kimberlite
