#include "runtime/tuning.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/report_file.hpp"

namespace kimberlite::runtime {

size_t Tuning::choose(std::string_view work, std::span<const std::string> ways) const {
  const auto known = fastest_.find(work);
  if (known == fastest_.end()) return 0;
  const auto way = std::ranges::find(ways, known->second);
  return way == ways.end() ? 0 : static_cast<size_t>(way - ways.begin());
}

void Tuning::read(const std::string& path, const std::string& key) {
  const nlohmann::json root = read_report(path, key);
  const auto found = root.find("fastest");
  if (found == root.end() || !found->is_object()) return;
  for (const auto& [work, way] : found->items()) {
    if (way.is_string()) fastest_[work] = way.get<std::string>();
  }
}

Status Tuning::write(const std::string& path, const std::string& key) const {
  return write_report(path, {{"key", key}, {"fastest", fastest_}});
}

}  // namespace kimberlite::runtime
