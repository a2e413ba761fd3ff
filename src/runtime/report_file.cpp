#include "runtime/report_file.hpp"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/os.hpp"

namespace kimberlite::runtime {
namespace {

using nlohmann::json;

std::filesystem::path to_path(const std::string& utf8) {
  return std::filesystem::path(std::u8string(utf8.begin(), utf8.end()));
}

}  // namespace

json read_report(const std::string& path, const std::string& key) {
  std::ifstream file(to_path(path), std::ios::binary);
  if (!file) return json::object();
  json root = json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool fits = root.is_object() && root.contains("key") && root["key"] == json(key);
  return fits ? root : json::object();
}

Status write_report(const std::string& path, const json& report) {
  const std::string fresh = path + ".new";
  {
    std::ofstream out(to_path(fresh), std::ios::binary | std::ios::trunc);
    // Driver names come from outside and may be no UTF-8.
    out << report.dump(1, ' ', false, json::error_handler_t::replace) << '\n';
    out.flush();
    if (!out) return Error{ErrorCode::io, fresh + ": cannot write what was found about a device"};
  }
  return os::replace_file(fresh, path);
}

}  // namespace kimberlite::runtime
