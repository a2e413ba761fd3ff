#include "runtime/report_file.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/replace_contents.hpp"
#include "base/utf8_path.hpp"

namespace kimberlite::runtime {

using nlohmann::json;

json read_report(const std::string& path, const std::string& key) {
  std::ifstream file(utf8_path(path), std::ios::binary);
  if (!file) return json::object();
  json root = json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool fits = root.is_object() && root.contains("key") && root["key"] == json(key);
  return fits ? root : json::object();
}

Status write_report(const std::string& path, const json& report) {
  // Driver names come from outside and may be no UTF-8.
  const std::string text = report.dump(1, ' ', false, json::error_handler_t::replace) + '\n';
  return replace_contents(path, {std::as_bytes(std::span(text))}, "what was found about a device");
}

}  // namespace kimberlite::runtime
