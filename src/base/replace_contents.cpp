#include "base/replace_contents.hpp"

#include <fstream>

#include "base/os.hpp"
#include "base/utf8_path.hpp"

namespace kimberlite {

Status replace_contents(const std::string& path,
                        std::initializer_list<std::span<const std::byte>> parts,
                        std::string_view what) {
  const std::string fresh = path + ".new";
  {
    std::ofstream out(utf8_path(fresh), std::ios::binary | std::ios::trunc);
    for (const std::span<const std::byte> part : parts) {
      out.write(reinterpret_cast<const char*>(part.data()),
                static_cast<std::streamsize>(part.size()));
    }
    out.flush();
    if (!out) return Error{ErrorCode::io, fresh + ": cannot write " + std::string(what)};
  }
  return os::replace_file(fresh, path);
}

}  // namespace kimberlite
