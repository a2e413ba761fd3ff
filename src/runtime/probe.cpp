#include "runtime/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "base/numeric.hpp"
#include "base/parallel.hpp"
#include "graph/executable.hpp"
#include "kernels/embed.hpp"
#include "kernels/matvec.hpp"
#include "runtime/probe_cache.hpp"
#include "runtime/probe_checks.hpp"

namespace kimberlite::runtime {

using formats::GgmlType;
using kernels::LinearClass;
using kernels::MatrixKind;

namespace {

constexpr double kCompiling = 0.5;  // the pipelines' share of the time, more or less

/// Checks that share no kernel with those of another part.
struct ProbePart {
  ProbeReport report;  // what was known before and what this part has found out
  std::vector<ProbeOutcome> outcomes;
};

/// Rounds of all checks that are not decided yet; after a round the variants that failed are off.
class Probe {
 public:
  Probe(const ProbeDevice& on, const ProbeRequest& request, ProbePart& part,
        std::function<void(double)> progress)
      : device_(on.device),
        pipelines_(on.pipelines),
        request_(request),
        report_(part.report),
        outcomes_(part.outcomes),
        caps_(request.caps != nullptr ? *request.caps : device_.caps()),
        memory_(caps_.storage_alignment),
        progress_(std::move(progress)) {}

  // Checks are made with their inputs, so a group is skipped by the name of its first member; a
  // report holds all members of a group or none.

  void add_rows() {
    if (!report_.checked.contains("rms_norm")) add(row_checks(memory_, caps_));
    if (!report_.checked.contains("sample")) add(sample_checks(memory_));
    if (request_.drafts && !report_.checked.contains("sample_draft")) add(draft_checks(memory_));
    if (!request_.experts.empty() && !report_.checked.contains("expert_sum")) {
      add(expert_row_checks(memory_, caps_));
    }
  }

  void add_attention() {
    for (const AttentionKind& kind : request_.attention) {
      if (report_.checked.contains(rope_check_name(kind, request_.kv_type))) continue;
      add(attention_checks(memory_, caps_, kind, request_.kv_type));
    }
    for (const AttentionKind& kind : request_.attention) {
      if (!request_.media || kind.window == 0 || kind.own_key == kernels::OwnKey::hidden) continue;
      if (report_.checked.contains(picture_check_name(kind, request_.kv_type))) continue;
      add({picture_check(memory_, caps_, kind, request_.kv_type)});
    }
  }

  void add_media() {
    if (request_.media && !report_.checked.contains("layer_norm")) add(media_checks(memory_));
    const uint32_t head_dim = request_.tower_head_dim;
    if (head_dim != 0 && !report_.checked.contains(tower_check_name(head_dim))) {
      add(tower_checks(memory_, head_dim));
    }
    if (request_.conformer && !report_.checked.contains(kConformerCheck)) {
      add(conformer_checks(memory_));
    }
  }

  /// Every matrix of a type: where a class is off, another one of the type takes over.
  void add_type(GgmlType type) {
    const auto add_each = [&](const std::set<MatrixKind>& kinds, auto&& add_kind) {
      for (const MatrixKind& kind : kinds) {
        if (kind.type == type) add_kind(kind);
      }
    };
    add_each(request_.matrices, [&](const MatrixKind& kind) { add_matrix(kind); });
    add_each(request_.tables, [&](const MatrixKind& kind) { add_embedding(kind); });
    add_each(request_.experts, [&](const MatrixKind& kind) { add_experts(kind); });
  }

  Status run() {
    const size_t n_wanted = std::max<size_t>(1, open_.size());
    while (!open_.empty()) {
      KL_TRY(run_round());
      const double n_open = static_cast<double>(std::min(open_.size(), n_wanted));
      show(1 - n_open / static_cast<double>(n_wanted));
    }
    return {};
  }

 private:
  /// Checks that were opened again do not turn it back.
  void show(double fraction) {
    fraction_ = std::max(fraction_, fraction);
    progress_(fraction_);
  }

  void add(std::vector<ProbeCheck> checks) {
    for (ProbeCheck& check : checks) {
      if (report_.checked.contains(check.name)) continue;
      const bool known = std::any_of(open_.begin(), open_.end(), [&](const ProbeCheck& other) {
        return other.name == check.name;
      });
      if (!known) open_.push_back(std::move(check));
    }
  }

  [[nodiscard]] MatrixKind enabled(const MatrixKind& kind) const {
    const bool off = report_.disabled_classes.contains(kind);
    return off ? MatrixKind{kind.type, LinearClass::f32} : kind;
  }
  void add_matrix(const MatrixKind& wanted) {
    const MatrixKind kind = enabled(wanted);
    const std::string name(kernels::matvec_kernel(kind.type, kind.linear_class).name);
    if (!report_.checked.contains(name)) add(matrix_checks(memory_, caps_, kind, /*gated=*/false));
    if (!request_.gated.contains(wanted) || report_.checked.contains("gated " + name)) return;
    add(matrix_checks(memory_, caps_, kind, /*gated=*/true));
  }
  void add_embedding(const MatrixKind& wanted) {
    const MatrixKind kind = enabled(wanted);
    const std::string name(kernels::embed_kernel(kind.type, kind.linear_class).name);
    if (!report_.checked.contains(name)) add({embed_check(memory_, caps_, kind)});
  }

  void add_experts(const MatrixKind& wanted) {
    const MatrixKind kind = enabled(wanted);
    const std::string name(kernels::matvec_kernel(kind.type, kind.linear_class).name);
    for (const bool gated : {false, true}) {
      if (gated && !request_.gated.contains(wanted)) continue;
      if (report_.checked.contains((gated ? "gated experts " : "experts ") + name)) continue;
      add(expert_checks(memory_, caps_, kind, gated));
    }
  }

  [[nodiscard]] const graph::Variant& variant(const ProbeCheck& check) const {
    return graph::pick_variant(*check.kernel, caps_, &report_.disabled);
  }

  [[nodiscard]] graph::Graph build(std::span<const ProbeCheck> checks) const {
    graph::Graph graph(caps_, &report_.disabled);
    for (const ProbeCheck& check : checks) {
      for (const ProbePass& pass : check.passes) pass.add(graph);
    }
    return graph;
  }

  Status run_round() {
    bool all_made = true;
    KL_TRY(make_pipelines(all_made));
    // The failed ones are off by now; the others wait for the next round with their successors.
    if (!all_made) return {};
    KL_TRY(execute());
    std::vector<ProbeCheck> checks = std::move(open_);
    open_.clear();
    std::vector<const graph::Variant*> ran;  // before one of them is off
    for (const ProbeCheck& check : checks) ran.push_back(&variant(check));
    Status status;  // the first error; who listens hears of the other checks of the round as well
    for (size_t i = 0; i < checks.size(); ++i) {
      ProbeCheck& check = checks[i];
      if (check.kind && report_.disabled_classes.contains(*check.kind)) continue;
      ++report_.n_run;
      corrupt(check, *ran[i]);
      const auto deviation = find_deviation(check, memory_);
      if (!deviation) {
        report_.checked.insert(check.name);
        tell(check, *ran[i], seconds_[i], {});
        continue;
      }
      const Status rejected = reject(check, *ran[i], describe(*deviation), seconds_[i]);
      if (!rejected.ok() && status.ok()) status = rejected;
    }
    for (size_t i = 0; i < checks.size(); ++i) reopen(std::move(checks[i]), *ran[i]);
    return status;
  }

  /// What has passed by a variant that another check of the round has switched off says nothing of
  /// the next one.
  void reopen(ProbeCheck check, const graph::Variant& ran) {
    if (report_.disabled.allows(check.kernel->name, ran.name)) return;
    if (check.kind && report_.disabled_classes.contains(*check.kind)) return;
    if (report_.checked.erase(check.name) > 0 && find_successor(check)) {
      open_.push_back(std::move(check));
    }
  }

  void tell(const ProbeCheck& check, const graph::Variant& ran, double seconds,
            std::string failure) {
    outcomes_.push_back({check.name, std::string(check.kernel->name), std::string(ran.name),
                         seconds, std::move(failure)});
  }

  /// In parallel; where one fails, each check alone, to learn whose it was.
  Status make_pipelines(bool& all_made) {
    const auto progress = [&](size_t done, size_t total) {
      show(kCompiling * static_cast<double>(done) / static_cast<double>(total));
    };
    if (pipelines_.prepare(graph::pipeline_specs(build(open_)), progress).ok()) return {};
    std::vector<ProbeCheck> checks = std::move(open_);
    open_.clear();
    for (ProbeCheck& check : checks) {
      const Status made = pipelines_.prepare(graph::pipeline_specs(build({&check, 1})));
      if (made.ok()) {
        open_.push_back(std::move(check));
        continue;
      }
      if (made.error().code == ErrorCode::device_lost) return made.error();
      all_made = false;
      const graph::Variant& failed = variant(check);
      KL_TRY(reject(std::move(check), failed, made.error().message, 0));
    }
    return {};
  }

  Status execute() {
    const graph::Graph graph = build(open_);
    const graph::Plan plan = graph::make_plan(graph);
    KL_ASSIGN(const vk::Buffer scratch,
              vk::Buffer::make(device_, std::max<uint64_t>(plan.scratch_bytes, kKiB),
                               vk::MemoryKind::device, "probe scratch"));
    KL_TRY(memory_.upload(device_));
    graph::ExecutableOptions options;
    options.name = "probe";
    options.timestamps = request_.outcome != nullptr && has_timestamps();
    KL_ASSIGN(const graph::Executable executable,
              graph::Executable::make(device_, pipelines_, graph, plan,
                                      {&scratch, 0, scratch.n_bytes()}, options));
    KL_TRY(device_.run(executable.commands()));
    seconds_.assign(open_.size(), 0.0);
    if (options.timestamps) {
      KL_ASSIGN(const std::vector<graph::NodeTime> nodes, executable.node_times(device_));
      add_up(nodes);
    }
    return memory_.download(device_);
  }

  [[nodiscard]] bool has_timestamps() const {
    return device_.snapshot().queue_families[device_.plan().queue_family].timestamp_bits > 0;
  }

  /// The nodes of a check follow one another.
  void add_up(const std::vector<graph::NodeTime>& nodes) {
    size_t at = 0;
    for (size_t i = 0; i < open_.size(); ++i) {
      const size_t n_nodes = build({&open_[i], 1}).nodes().size();
      for (const size_t end = at + n_nodes; at < end; ++at) {
        seconds_[i] += nodes[at].microseconds * 1e-6;
      }
    }
  }

  void corrupt(const ProbeCheck& check, const graph::Variant& ran) {
    if (!request_.corrupt) return;
    for (const ProbePass& pass : check.passes) {
      for (const ProbeOutput& output : pass.outputs) {
        const std::span<std::byte> bytes = memory_.bytes(output.tensor);
        std::vector<float> values(bytes.size() / sizeof(float));
        std::memcpy(values.data(), bytes.data(), bytes.size());
        request_.corrupt(check.kernel->name, ran.name, values);
        std::memcpy(bytes.data(), values.data(), bytes.size());
      }
    }
  }

  [[nodiscard]] std::string describe(const ProbeDeviation& deviation) const {
    const vk::DeviceSnapshot& snapshot = device_.snapshot();
    return fmt::format("{} on {} {} ({} {:.2g}, allowed {:.2g})",
                       deviation.by_company ? "a column depends on the others" : "wrong results",
                       snapshot.driver_name, snapshot.driver_info,
                       deviation.by_company ? "differs by" : "max error", deviation.error,
                       deviation.allowed);
  }

  /// Gives the check a kernel with a variant that is not off; false where there is none.
  [[nodiscard]] bool find_successor(ProbeCheck& check) const {
    if (report_.disabled.allows(check.kernel->name, variant(check).name)) return true;
    if (check.kernel->instead == nullptr) return false;
    check.kernel = check.kernel->instead;
    return true;
  }

  /// Switches the variant that failed off and opens the check again, or its class and what replaces
  /// it. Another check of the round may have done that: then it is said once.
  Status reject(ProbeCheck check, const graph::Variant& failed, const std::string& reason,
                double seconds) {
    tell(check, failed, seconds, reason);
    const std::string what =
        fmt::format("kernel {} variant {}: {}", check.kernel->name, failed.name, reason);
    const bool is_known = !report_.disabled.allows(check.kernel->name, failed.name);
    report_.disabled.add(check.kernel->name, failed.name);
    const graph::KernelDesc* const kernel = check.kernel;
    if (find_successor(check)) {
      const std::string successor = check.kernel == kernel
                                        ? std::string(variant(check).name)
                                        : fmt::format("kernel {}", check.kernel->name);
      if (!is_known) report_.warnings.push_back(fmt::format("{}: using {}", what, successor));
      open_.push_back(std::move(check));
      return {};
    }
    if (!check.kind || check.kind->linear_class == LinearClass::f32) {
      return Error{ErrorCode::device, what + ": no other variant is left"};
    }
    return reject_class(*check.kind, what);
  }

  Status reject_class(const MatrixKind& kind, const std::string& what) {
    if (!report_.disabled_classes.insert(kind).second) return {};
    report_.warnings.push_back(fmt::format("{}: class {} is off for {} matrices, using f32", what,
                                           kernels::linear_class_text(kind.linear_class),
                                           formats::traits(kind.type).name));
    std::erase_if(open_, [&](const ProbeCheck& check) { return check.kind == kind; });
    if (request_.matrices.contains(kind)) add_matrix(kind);
    if (request_.tables.contains(kind)) add_embedding(kind);
    if (request_.experts.contains(kind)) add_experts(kind);
    return {};
  }

  vk::Device& device_;  // Borrowed from the caller, like the four below.
  vk::PipelineCache& pipelines_;
  const ProbeRequest& request_;
  ProbeReport& report_;
  std::vector<ProbeOutcome>& outcomes_;
  vk::Caps caps_;
  ProbeMemory memory_;
  std::vector<ProbeCheck> open_;
  std::vector<double> seconds_;  // on the device, of each of them in the last round
  std::function<void(double)> progress_;
  double fraction_ = 0;  // the last one shown
};

using AddChecks = std::function<void(Probe&)>;

/// What adds the checks of each part.
std::vector<AddChecks> list_parts(const ProbeRequest& request) {
  std::vector<AddChecks> parts{&Probe::add_rows, &Probe::add_attention, &Probe::add_media};
  std::set<GgmlType> types;
  for (const auto* kinds : {&request.matrices, &request.tables, &request.experts}) {
    for (const MatrixKind& kind : *kinds) types.insert(kind.type);
  }
  for (const GgmlType type : types) {
    parts.emplace_back([type](Probe& probe) { probe.add_type(type); });
  }
  return parts;
}

/// All at once, so that their pipelines are made in parallel and executed in one submission.
AddChecks join(std::vector<AddChecks> parts) {
  return [parts = std::move(parts)](Probe& probe) {
    for (const AddChecks& add : parts) add(probe);
  };
}

/// Every part, each on the device that is free next. The error is that of the first part with one.
Status run_parts(std::span<const ProbeDevice> devices, const ProbeRequest& request,
                 std::span<const AddChecks> to_add, std::span<ProbePart> parts) {
  std::vector<Status> statuses(parts.size());
  std::atomic<size_t> n_taken = 0, n_done = 0;
  const std::thread::id caller = std::this_thread::get_id();
  double shown = 0;
  const auto show = [&](double fraction) {
    if (!request.progress || std::this_thread::get_id() != caller) return;
    shown = (static_cast<double>(n_done) + fraction) / static_cast<double>(parts.size());
    request.progress(shown);
  };
  const auto n_devices = static_cast<uint32_t>(devices.size());
  parallel_for(n_devices, n_devices, [&](uint64_t device) {
    for (size_t i = n_taken++; i < parts.size(); i = n_taken++) {
      Probe probe(devices[device], request, parts[i], show);
      to_add[i](probe);
      statuses[i] = probe.run();
      ++n_done;
    }
  });
  const bool had_checks =
      std::ranges::any_of(parts, [](const ProbePart& part) { return !part.outcomes.empty(); });
  if (request.progress && had_checks && shown < 1) request.progress(1);
  const auto failed = std::ranges::find_if(statuses, [](const Status& s) { return !s.ok(); });
  return failed == statuses.end() ? Status() : *failed;
}

/// Adds what the part has found out.
void merge(const ProbeReport& before, const ProbeReport& part, ProbeReport& all) {
  all.disabled.add(part.disabled);
  all.disabled_classes.insert(part.disabled_classes.begin(), part.disabled_classes.end());
  all.warnings.insert(all.warnings.end(),
                      part.warnings.begin() + static_cast<ptrdiff_t>(before.warnings.size()),
                      part.warnings.end());
  all.checked.insert(part.checked.begin(), part.checked.end());
  all.n_run += part.n_run;
}

}  // namespace

bool DisabledVariants::allows(std::string_view kernel, std::string_view variant) const {
  return names_.empty() || !names_.contains(fmt::format("{}:{}", kernel, variant));
}

void DisabledVariants::add(std::string_view kernel, std::string_view variant) {
  names_.insert(fmt::format("{}:{}", kernel, variant));
}

void DisabledVariants::add(const DisabledVariants& others) {
  names_.insert(others.names_.begin(), others.names_.end());
}

Result<ProbeReport> probe(std::span<const ProbeDevice> devices, const ProbeRequest& request) {
  const vk::Device& device = devices.front().device;
  const vk::Caps& caps = request.caps != nullptr ? *request.caps : device.caps();
  const std::string key = probe_key(device.snapshot(), caps);
  ProbeReport before = request.known;
  before.n_run = 0;
  if (before.checked.empty() && !request.cache_file.empty()) {
    before = read_probe_cache(request.cache_file, key);
  }
  std::vector<AddChecks> to_add = list_parts(request);
  if (devices.size() == 1) to_add = {join(std::move(to_add))};
  std::vector<ProbePart> parts(to_add.size(), {before, {}});
  const Status done = run_parts(devices, request, to_add, parts);
  ProbeReport report = before;
  for (const ProbePart& part : parts) {
    merge(before, part.report, report);
    if (!request.outcome) continue;
    for (const ProbeOutcome& outcome : part.outcomes) request.outcome(outcome);
  }
  KL_TRY(done);
  if (!request.cache_file.empty() && report.n_run > 0) {
    // A file that cannot be written costs time at the next start and nothing else.
    [[maybe_unused]] const Status written = write_probe_cache(request.cache_file, key, report);
  }
  return report;
}

Result<ProbeReport> probe(vk::Device& device, vk::PipelineCache& pipelines,
                          const ProbeRequest& request) {
  const ProbeDevice one{device, pipelines};
  return probe(std::span(&one, 1), request);
}

}  // namespace kimberlite::runtime
