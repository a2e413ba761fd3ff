// Whether a device computes what the CPU computes, and how fast its memory and its arithmetic are.
// Errors travel as Result; nothing here prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kimberlite/tools.hpp"

namespace kimberlite {

/// Bytes; budget and use are of this process and 0 where the driver does not tell.
struct HeapFigures {
  uint64_t n_bytes = 0;
  uint64_t budget_bytes = 0;
  uint64_t used_bytes = 0;
  bool device_local = false;
};

struct DeviceFeature {
  std::string name;
  bool present = false;
};

struct DeviceDetails {
  DeviceInfo info;
  std::string api_version;     // "1.3.230"
  uint32_t subgroup_size = 0;  // that kernels run with
  uint32_t min_subgroup_size = 0;
  uint32_t max_subgroup_size = 0;
  uint32_t n_compute_units = 0;         // an estimate where the driver does not tell
  std::vector<DeviceFeature> features;  // that kernels can make use of
  std::vector<HeapFigures> heaps;
};

/// What others have met with this driver or device: no refusal.
struct DriverWarning {
  std::string name;
  std::string text;
};

/// A variant of a kernel, over all numbers of columns that it is used with, against the CPU.
struct CheckResult {
  std::string name;
  std::string kernel;
  std::string variant;
  double seconds = 0;  // on the device; 0 where its queue has no timestamps
  bool passed = false;
  std::string failure;  // "" where it passed
};

/// How many multiply-accumulates per second the device does in registers, in the arithmetic of a
/// class of products: "f32", "int8_dot" (four bytes an instruction) or "int8_swar" (two rows in one
/// 32-bit multiplication).
struct MatrixRate {
  std::string arithmetic;
  double macs_per_second = 0;
};

struct Diagnosis {
  DeviceDetails device;
  std::string choice;               // why this device
  std::vector<DeviceInfo> ranking;  // of all devices, best first; `reason`: what the rank rests on
  std::vector<DriverWarning> known;
  std::vector<CheckResult> checks;  // in the order in which they were decided
  /// What is off on this driver, now and at every later start, why, and what takes over; what
  /// earlier checks found included.
  std::vector<std::string> switched_off;
  std::string failure;      // why no model can run: a kernel without a right variant, a lost device
  bool remembered = false;  // what was found is in the cache folder, for the next start
  double copy_bytes_per_second = 0;
  std::vector<MatrixRate> matrix_rates;
  double seconds = 0;

  /// Every check passed, and none is known to have failed.
  [[nodiscard]] bool healthy() const { return switched_off.empty() && failure.empty(); }
};

struct DiagnoseOptions {
  std::string device;  // as of ModelOptions, like cache_dir and validation
  /// Checks exactly what this GGUF file, and what lies beside it, will use; "" = what most models
  /// do.
  std::string model;
  /// Forgets what earlier checks found. Without it what they switched off stays off, and all else
  /// is checked anew.
  bool fresh = false;
  std::string cache_dir;
  bool validation = false;
  Progress progress;
};

/// Errors: no_device, invalid_argument (a selector that fits none or several), io, bad_file,
/// unsupported (the model), out_of_memory, device. A kernel that is wrong, and a device that is
/// lost on the way, are no errors but findings.
Result<Diagnosis> diagnose(const DiagnoseOptions& options);

/// What one position of a prompt asks of a class: the products of the layers with their weights,
/// not those of attention and of the head.
struct MatrixWork {
  MatrixRate rate;
  uint64_t macs = 0;
};
/// For the classes that the model uses, with their measured rates. Errors: out_of_memory, device,
/// device_lost.
Result<std::vector<MatrixWork>> measure_matrix_work(Model& model);

}  // namespace kimberlite
