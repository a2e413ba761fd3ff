#include "runtime/diagnosis.hpp"

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/os.hpp"
#include "base/parallel.hpp"
#include "runtime/api.hpp"
#include "runtime/bandwidth.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/mac_rate.hpp"
#include "runtime/open_device.hpp"
#include "runtime/probe_cache.hpp"
#include "vk/plan.hpp"

namespace kimberlite::runtime {
namespace {

using formats::GgmlType;
using kernels::LinearClass;
using kernels::MatrixKind;

constexpr GgmlType kCommonTypes[] = {GgmlType::f32,  GgmlType::f16,  GgmlType::bf16, GgmlType::q8_0,
                                     GgmlType::q4_0, GgmlType::q4_k, GgmlType::q6_k};
constexpr uint32_t kTowerHead = 64;  // of the encoders of pictures of E2B and E4B

/// A device, and the model that was asked for where one was.
struct Subject {
  OpenDevice open;                 // without a model
  std::unique_ptr<Engine> engine;  // else
  ProbeRequest request;

  [[nodiscard]] const OpenDevice& device() const { return engine ? engine->opened() : open; }
};

Result<Subject> open_subject(const DiagnoseOptions& options) {
  Subject subject;
  if (options.model.empty()) {
    KL_ASSIGN(subject.open,
              open_device({options.device, options.validation, 0, options.cache_dir}));
    const vk::Caps& caps = subject.open.device->caps();
    subject.request = common_request(caps, pick_segment_rows(caps) != 0);
    return subject;
  }
  EngineOptions engine;
  engine.device = options.device;
  engine.validation = options.validation;
  engine.cache_dir = options.cache_dir;
  KL_ASSIGN(subject.engine, Engine::prepare(options.model, engine));
  subject.request = subject.engine->probe_request(kernels::KvType::f16);
  return subject;
}

DeviceDetails describe(const OpenDevice& open) {
  const vk::DeviceSnapshot& snapshot = open.device->snapshot();
  const vk::Caps& caps = open.device->caps();
  const vk::DeviceFeatures& has = snapshot.features;
  DeviceDetails details;
  details.api_version = vk::api_version_text(snapshot.api_version);
  details.subgroup_size = caps.subgroup_size;
  details.min_subgroup_size = snapshot.subgroup.min_size;
  details.max_subgroup_size = snapshot.subgroup.max_size;
  details.n_compute_units = caps.n_compute_units;
  details.features = {{"float16", has.float16},
                      {"int8", has.int8},
                      {"8-bit storage", has.storage_8bit},
                      {"16-bit storage", has.storage_16bit},
                      {"int8 dot products in hardware", caps.has_int8_dot},
                      {"cooperative matrices", has.cooperative_matrix},
                      {"subgroup size control", snapshot.subgroup.size_control},
                      {"memory budget", has.memory_budget}};
  const std::vector<vk::Device::HeapBudget> budgets = open.device->heap_budgets();
  for (size_t i = 0; i < snapshot.heaps.size(); ++i) {
    HeapFigures heap{snapshot.heaps[i].n_bytes, 0, 0, snapshot.heaps[i].device_local};
    if (i < budgets.size()) {
      heap.budget_bytes = budgets[i].budget_bytes;
      heap.used_bytes = budgets[i].usage_bytes;
    }
    details.heaps.push_back(heap);
  }
  return details;
}

void describe_choice(const OpenDevice& open, uint64_t needed_bytes, Diagnosis& diagnosis) {
  const std::vector<vk::DeviceSnapshot> snapshots = open.instance->snapshots();
  const std::vector<DeviceInfo> devices = describe_devices(snapshots);
  const auto ranking = vk::rank_devices(snapshots, needed_bytes, os::physical_memory_bytes());
  for (const vk::RankedDevice& ranked : ranking) {
    DeviceInfo device = devices[ranked.index];
    device.reason = ranked.reason;
    device.chosen = ranked.index == open.index;
    if (device.chosen) diagnosis.device.info = device;
    diagnosis.ranking.push_back(std::move(device));
  }
  diagnosis.choice = open.reason;
  for (const vk::DriverTrouble& trouble : vk::known_troubles(open.device->snapshot())) {
    diagnosis.known.push_back({std::string(trouble.name), std::string(trouble.text)});
  }
}

/// Checks that an earlier call has made are still good, unless something that they may have used
/// is off by now.
Status remember(const OpenDevice& open, const ProbeReport& before, ProbeReport report) {
  if (report.disabled.names() == before.disabled.names() &&
      report.disabled_classes == before.disabled_classes) {
    report.checked.insert(before.checked.begin(), before.checked.end());
  }
  const std::string key = probe_key(open.device->snapshot(), open.device->caps());
  return write_probe_cache(open.probe_file, key, report);
}

/// The device, and more of the same driver on a CPU, whose drivers compile a pipeline on the one
/// thread of the device that executes it first.
struct ProbeDevices {
  std::vector<OpenDevice> more;  // of the same instance
  std::vector<ProbeDevice> all;
};

/// As many as can be had.
ProbeDevices open_probe_devices(const OpenDevice& open) {
  constexpr uint32_t kMost = 4;  // beyond that the longest part is what one waits for
  ProbeDevices devices;
  devices.all.push_back({*open.device, *open.pipelines});
  const vk::Device& first = *open.device;
  const uint32_t n = first.caps().is_cpu ? std::min(kMost, thread_count(0)) : 1;
  while (devices.all.size() < n) {
    auto device = vk::Device::make(first.instance(), open.index, first.plan());
    if (!device.ok()) break;
    auto pipelines = vk::PipelineCache::make(**device, "");
    if (!pipelines.ok()) break;
    OpenDevice& another = devices.more.emplace_back();
    another.device = std::move(device).value();
    another.pipelines = std::move(pipelines).value();
    devices.all.push_back({*another.device, *another.pipelines});
  }
  return devices;
}

/// Every check of `request`. Errors: those that say nothing about kernels.
Status check_kernels(const OpenDevice& open, ProbeRequest request, const DiagnoseOptions& options,
                     Diagnosis& diagnosis) {
  ProbeReport before;
  if (!options.fresh && !open.probe_file.empty()) {
    const std::string key = probe_key(open.device->snapshot(), open.device->caps());
    before = read_probe_cache(open.probe_file, key);
  }
  request.known = before;
  request.known.checked.clear();
  diagnosis.switched_off = before.warnings;
  request.outcome = [&](const ProbeOutcome& outcome) {
    diagnosis.checks.push_back({outcome.check, outcome.kernel, outcome.variant, outcome.seconds,
                                outcome.failure.empty(), outcome.failure});
  };
  if (options.progress) {
    request.progress = [&](double fraction) { options.progress("checking kernels", fraction); };
  }
  const ProbeDevices devices = open_probe_devices(open);
  const auto report = probe(devices.all, request);
  if (!report.ok()) {
    const ErrorCode code = report.error().code;
    if (code != ErrorCode::device && code != ErrorCode::device_lost) return report.error();
    diagnosis.failure = report.error().message;
    return {};
  }
  diagnosis.switched_off = report->warnings;
  if (!open.probe_file.empty()) diagnosis.remembered = remember(open, before, *report).ok();
  return {};
}

Status measure(const OpenDevice& open, const Progress& progress, Diagnosis& diagnosis) {
  const std::vector<LinearClass> classes = product_classes(open.device->caps());
  const auto show = [&](size_t n_done) {
    if (!progress) return;
    progress("measuring", static_cast<double>(n_done) / static_cast<double>(classes.size() + 1));
  };
  show(0);
  KL_ASSIGN(diagnosis.copy_bytes_per_second, measure_copy_bandwidth(*open.device));
  for (const LinearClass linear_class : classes) {
    show(1 + diagnosis.matrix_rates.size());
    KL_ASSIGN(const double rate, measure_mac_rate(*open.device, *open.pipelines, linear_class));
    diagnosis.matrix_rates.push_back({kernels::linear_class_text(linear_class), rate});
  }
  show(1 + classes.size());
  return {};
}

}  // namespace

ProbeRequest common_request(const vk::Caps& caps, bool segments) {
  ProbeRequest request;
  for (const GgmlType type : kCommonTypes) {
    const MatrixKind best{type, kernels::pick_linear_class(type, 4096, 4096, caps, false)};
    request.matrices.insert(best);
    request.matrices.insert({type, LinearClass::f32});
    request.gated.insert(best);
    // Experts in floats exist for training alone, and cost a CPU driver half a minute to compile.
    if (formats::traits(type).block_elems > 1) request.experts.insert(best);
    request.tables.insert(best);
  }
  for (const kernels::OwnKey own_key : {kernels::OwnKey::seen, kernels::OwnKey::hidden}) {
    request.attention.push_back({4, 2, 1024, {256, 128, 1e4}, false, false, own_key});
    request.attention.push_back({4, 1, 0, {512, 64, 1e6}, false, segments, own_key});
  }
  request.drafts = true;
  request.media = true;
  request.tower_head_dim = kTowerHead;
  request.conformer = true;
  return request;
}

Result<Diagnosis> diagnose(
    const DiagnoseOptions& options,
    std::function<void(std::string_view, std::string_view, std::span<float>)> corrupt) {
  const auto start = std::chrono::steady_clock::now();
  KL_ASSIGN(Subject subject, open_subject(options));
  const OpenDevice& open = subject.device();
  Diagnosis diagnosis;
  diagnosis.device = describe(open);
  describe_choice(open, open.needed_bytes, diagnosis);
  subject.request.corrupt = std::move(corrupt);
  KL_TRY(check_kernels(open, std::move(subject.request), options, diagnosis));
  if (diagnosis.failure.empty()) KL_TRY(measure(open, options.progress, diagnosis));
  // A cache that cannot be written costs time at the next start and nothing else.
  [[maybe_unused]] const Status saved = open.pipelines->save();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  diagnosis.seconds = spent.count();
  return diagnosis;
}

}  // namespace kimberlite::runtime

namespace kimberlite {

Result<Diagnosis> diagnose(const DiagnoseOptions& options) { return runtime::diagnose(options); }

Result<std::vector<MatrixWork>> measure_matrix_work(Model& model) {
  runtime::Engine& engine = Access::engine(model);
  std::vector<MatrixWork> work;
  for (const auto& [linear_class, n_macs] : engine.position_macs()) {
    KL_ASSIGN(const double rate,
              runtime::measure_mac_rate(engine.device(), engine.pipelines(), linear_class));
    work.push_back({{kernels::linear_class_text(linear_class), rate}, n_macs});
  }
  return work;
}

}  // namespace kimberlite
