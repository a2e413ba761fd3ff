// kimberlite doctor: whether this driver computes what it should, as a report to paste into an
// issue. No path is part of it.
#include "kimberlite/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/commands.hpp"
#include "kimberlite/console.hpp"

namespace kimberlite::cli {
namespace {

struct DoctorArguments {
  DiagnoseOptions options;
  bool verbose = false;
  bool json = false;
};

/// A path says who is at home here.
std::string file_name(const std::string& path) {
  const std::filesystem::path whole(std::u8string(path.begin(), path.end()));
  const std::u8string name = whole.filename().u8string();
  return {name.begin(), name.end()};
}

size_t count_failed(const Diagnosis& diagnosis) {
  return static_cast<size_t>(std::ranges::count(diagnosis.checks, false, &CheckResult::passed));
}

/// Names of the features that are there, or that are not.
std::string feature_text(const DeviceDetails& device, bool present) {
  std::vector<std::string> names;
  for (const DeviceFeature& feature : device.features) {
    if (feature.present == present) names.push_back(feature.name);
  }
  return names.empty() ? "nothing of that" : fmt::format("{}", fmt::join(names, ", "));
}

void print_device(const Diagnosis& diagnosis) {
  const DeviceDetails& device = diagnosis.device;
  fmt::print("### Device\n\n");
  fmt::print("- {}, {}\n", terminal_safe(device.info.name), device.info.type);
  fmt::print("- driver: {}\n", terminal_safe(device.info.driver));
  fmt::print("- Vulkan {}, uuid {}\n", device.api_version, device.info.uuid);
  fmt::print("- subgroups of {} (possible: {} to {}), {} compute units\n", device.subgroup_size,
             device.min_subgroup_size, device.max_subgroup_size, device.n_compute_units);
  fmt::print("- has {}\n", feature_text(device, true));
  fmt::print("- lacks {}\n", feature_text(device, false));
  if (diagnosis.copy_bytes_per_second > 0) {
    fmt::print("- copies: {:.1f} GB/s\n", diagnosis.copy_bytes_per_second * 1e-9);
  }
  for (const MatrixRate& rate : diagnosis.matrix_rates) {
    fmt::print("- multiply-accumulates, {}: {:.1f} G/s\n", rate.arithmetic,
               rate.macs_per_second * 1e-9);
  }
  fmt::print("\n| heap | size | budget | in use | |\n| ---: | ---: | ---: | ---: | --- |\n");
  for (size_t i = 0; i < device.heaps.size(); ++i) {
    const HeapFigures& heap = device.heaps[i];
    const bool tells = heap.budget_bytes != 0;
    fmt::print("| {} | {} | {} | {} | {} |\n", i, size_text(heap.n_bytes),
               tells ? size_text(heap.budget_bytes) : "?", tells ? size_text(heap.used_bytes) : "?",
               heap.device_local ? "on the device" : "");
  }
}

void print_ranking(const Diagnosis& diagnosis) {
  fmt::print("\n### Devices, best first\n\n");
  for (size_t i = 0; i < diagnosis.ranking.size(); ++i) {
    const DeviceInfo& device = diagnosis.ranking[i];
    fmt::print("{}. {}: {}{}{}\n", i + 1, terminal_safe(device.name),
               device.usable ? "" : "not usable: ", terminal_safe(device.reason),
               device.chosen ? " (checked here)" : "");
  }
}

void print_known(const Diagnosis& diagnosis) {
  if (diagnosis.known.empty()) return;
  fmt::print("\n### What others met with this driver or device\n\n");
  for (const DriverWarning& warning : diagnosis.known) {
    fmt::print("- {}: {}\n", warning.name, warning.text);
  }
}

void print_kernels(const Diagnosis& diagnosis, bool verbose) {
  fmt::print("\n### Kernels\n\n{} of {} checks passed.\n",
             diagnosis.checks.size() - count_failed(diagnosis), diagnosis.checks.size());
  for (const CheckResult& check : diagnosis.checks) {
    if (check.passed) continue;
    fmt::print("- FAILED: {} ({}, variant {}): {}\n", check.name, check.kernel, check.variant,
               terminal_safe(check.failure));
  }
  if (!diagnosis.switched_off.empty()) {
    fmt::print("\nOff on this driver, {}:\n\n",
               diagnosis.remembered ? "now and from now on" : "now (nowhere to remember it)");
  }
  for (const std::string& what : diagnosis.switched_off) {
    fmt::print("- {}\n", terminal_safe(what));
  }
  if (!diagnosis.failure.empty()) {
    fmt::print("\nNo model can run: {}\n", terminal_safe(diagnosis.failure));
  }
  if (!verbose) return;
  fmt::print("\n| check | variant | ms | |\n| ----- | ------- | -: | --- |\n");
  for (const CheckResult& check : diagnosis.checks) {
    fmt::print("| {} | {} | {:.2f} | {} |\n", check.name, check.variant, check.seconds * 1e3,
               check.passed ? "passed" : "FAILED");
  }
}

std::string verdict(const Diagnosis& diagnosis) {
  if (!diagnosis.failure.empty()) return "This driver cannot run models.";
  if (!diagnosis.switched_off.empty()) {
    return "This driver gets something wrong; Kimberlite goes around it.";
  }
  return "All is well.";
}

void print_text(const Diagnosis& diagnosis, const DoctorArguments& arguments) {
  const std::string& model = arguments.options.model;
  fmt::print("## kimberlite {} doctor\n\n{}", KIMBERLITE_VERSION, verdict(diagnosis));
  fmt::print(" Checked in {:.1f} s: {}.\n\n", diagnosis.seconds,
             model.empty() ? "what most models use" : terminal_safe(file_name(model)));
  print_device(diagnosis);
  print_ranking(diagnosis);
  print_known(diagnosis);
  print_kernels(diagnosis, arguments.verbose);
}

Json to_json(const DeviceDetails& device) {
  Json json = device_json(device.info);
  json["api_version"] = device.api_version;
  json["subgroup_size"] = device.subgroup_size;
  json["min_subgroup_size"] = device.min_subgroup_size;
  json["max_subgroup_size"] = device.max_subgroup_size;
  json["compute_units"] = device.n_compute_units;
  json["features"] = Json::object();
  for (const DeviceFeature& feature : device.features) {
    json["features"][feature.name] = feature.present;
  }
  json["heaps"] = Json::array();
  for (const HeapFigures& heap : device.heaps) {
    json["heaps"].push_back({{"bytes", heap.n_bytes},
                             {"budget_bytes", heap.budget_bytes},
                             {"used_bytes", heap.used_bytes},
                             {"device_local", heap.device_local}});
  }
  return json;
}

Json to_json(const Diagnosis& diagnosis, const DoctorArguments& arguments) {
  Json json = {{"version", KIMBERLITE_VERSION},
               {"healthy", diagnosis.healthy()},
               {"model", file_name(arguments.options.model)},
               {"seconds", diagnosis.seconds},
               {"device", to_json(diagnosis.device)},
               {"choice", diagnosis.choice},
               {"ranking", Json::array()},
               {"known_troubles", Json::array()},
               {"copy_gb_per_second", diagnosis.copy_bytes_per_second * 1e-9},
               {"matrix_gmac_per_second", Json::object()},
               {"checks", Json::array()},
               {"switched_off", diagnosis.switched_off},
               {"failure", diagnosis.failure},
               {"remembered", diagnosis.remembered}};
  for (const DeviceInfo& info : diagnosis.ranking) json["ranking"].push_back(device_json(info));
  for (const DriverWarning& warning : diagnosis.known) {
    json["known_troubles"].push_back({{"name", warning.name}, {"text", warning.text}});
  }
  for (const MatrixRate& rate : diagnosis.matrix_rates) {
    json["matrix_gmac_per_second"][rate.arithmetic] = rate.macs_per_second * 1e-9;
  }
  for (const CheckResult& check : diagnosis.checks) {
    json["checks"].push_back({{"name", check.name},
                              {"kernel", check.kernel},
                              {"variant", check.variant},
                              {"seconds", check.seconds},
                              {"passed", check.passed},
                              {"failure", check.failure}});
  }
  return json;
}

int doctor(DoctorArguments& arguments) {
  ProgressLine line;
  arguments.options.progress = line.callback();
  const auto diagnosis = diagnose(arguments.options);
  line.clear();
  if (!diagnosis.ok()) return fail(diagnosis.error());
  if (arguments.json) {
    print_json(to_json(*diagnosis, arguments));
  } else {
    print_text(*diagnosis, arguments);
  }
  return diagnosis->healthy() ? int{kExitOk} : int{kExitDevice};
}

}  // namespace

void add_doctor(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand(
      "doctor", "does this driver compute what it should? a report for an issue");
  auto arguments = std::make_shared<DoctorArguments>();
  command
      .add_option("MODEL,-m,--model", arguments->options.model,
                  "check what this GGUF file uses [what most models use]")
      ->option_text("FILE");
  command.add_option("--device", arguments->options.device, "-dev: as of run [the best]")
      ->option_text("NAME");
  command.add_flag("--fresh", arguments->options.fresh,
                   "forget what was switched off before; all else is checked anew each time");
  command.add_flag("--json", arguments->json, "one object");
  command.add_flag("-v,--verbose", arguments->verbose, "every check, with its time on the device");
  command.footer(
      "Runs each kernel and compares it with the CPU. What is wrong is switched off here and at\n"
      "later starts, and the exit code is 3.");
  command.callback([arguments, &result] { result = doctor(*arguments); });
}

}  // namespace kimberlite::cli
