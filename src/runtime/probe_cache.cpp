#include "runtime/probe_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/report_file.hpp"
#include "shaders/modules.hpp"
#include "vk/cache_file.hpp"

namespace kimberlite::runtime {
namespace {

using nlohmann::json;

/// FNV-1a over the words of all modules, which are sorted by name.
uint64_t modules_hash() {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const shaders::Module& module : shaders::modules()) {
    for (const uint32_t word : module.words) hash = (hash ^ word) * 0x100000001b3ull;
  }
  return hash;
}

std::vector<std::string> read_strings(const json& object, const char* key) {
  std::vector<std::string> strings;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return strings;
  for (const json& entry : *found) {
    if (entry.is_string()) strings.push_back(entry.get<std::string>());
  }
  return strings;
}

std::string kind_text(const kernels::MatrixKind& kind) {
  return fmt::format("{}:{}", formats::traits(kind.type).name,
                     int{static_cast<uint8_t>(kind.linear_class)});
}

}  // namespace

std::string probe_key(const vk::DeviceSnapshot& snapshot, const vk::Caps& caps) {
  const auto& [m, n, k] = caps.int8_matrix;
  return fmt::format(
      "{} {} subgroup {} texel {} cpu {} dot {} matrix {}x{}x{} units {} modules "
      "{:016x}",
      snapshot.device_uuid, vk::cache_key(snapshot), caps.subgroup_size,
      caps.wide_load == vk::WideLoad::texel, caps.is_cpu, caps.has_int8_dot, m, n, k,
      caps.n_compute_units, modules_hash());
}

ProbeReport read_probe_cache(const std::string& path, const std::string& key) {
  const json root = read_report(path, key);
  ProbeReport report;
  for (const std::string& name : read_strings(root, "disabled")) {
    const size_t colon = name.find(':');
    if (colon != std::string::npos) {
      report.disabled.add(name.substr(0, colon), name.substr(colon + 1));
    }
  }
  const std::vector<std::string> classes = read_strings(root, "disabled_classes");
  for (const kernels::MatrixKind& kind : kernels::matrix_kinds()) {
    const bool off = std::find(classes.begin(), classes.end(), kind_text(kind)) != classes.end();
    if (off) report.disabled_classes.insert(kind);
  }
  report.warnings = read_strings(root, "warnings");
  for (std::string& name : read_strings(root, "checked")) report.checked.insert(std::move(name));
  return report;
}

Status write_probe_cache(const std::string& path, const std::string& key,
                         const ProbeReport& report) {
  json root = {{"key", key},
               {"disabled", report.disabled.names()},
               {"disabled_classes", json::array()},
               {"warnings", report.warnings},
               {"checked", report.checked}};
  for (const kernels::MatrixKind& kind : report.disabled_classes) {
    root["disabled_classes"].push_back(kind_text(kind));
  }
  return write_report(path, root);
}

}  // namespace kimberlite::runtime
