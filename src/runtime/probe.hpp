// The first use of a driver: every kernel variant that a model will use is run on small shapes and
// compared with the CPU reference before it is trusted. A variant that fails is named, switched off
// and the next one takes over.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "graph/kernel_desc.hpp"
#include "kernels/attention.hpp"
#include "kernels/kv_layout.hpp"
#include "kernels/registry.hpp"
#include "kernels/rope_table.hpp"
#include "vk/device.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::runtime {

class DisabledVariants final : public graph::VariantPolicy {
 public:
  [[nodiscard]] bool allows(std::string_view kernel, std::string_view variant) const override;
  void add(std::string_view kernel, std::string_view variant);
  void add(const DisabledVariants& others);
  /// As "kernel:variant".
  [[nodiscard]] const std::set<std::string>& names() const { return names_; }

 private:
  std::set<std::string> names_;
};

/// The attention of one kind of layer.
struct AttentionKind {
  uint32_t n_heads = 1;
  uint32_t n_kv_heads = 1;
  uint32_t window = 0;  // 0: full
  kernels::RopeShape rope;
  bool shares_kv = false;  // some layers of this kind read the cache of another one
  bool table = false;      // full, and the cache comes in segments
  kernels::OwnKey own_key = kernels::OwnKey::seen;  // hidden: of a drafter, which decodes alone
  bool operator==(const AttentionKind& other) const = default;
};

/// What is known of a driver; the cache file holds exactly this.
struct ProbeReport {
  DisabledVariants disabled;
  std::set<kernels::MatrixKind> disabled_classes;  // off for every number of columns
  std::vector<std::string> warnings;               // one for each decision, for the user
  std::set<std::string> checked;                   // names of checks
  uint32_t n_run = 0;                              // checks that this call has run
};

/// What one check found.
struct ProbeOutcome {
  std::string check;
  std::string kernel;
  std::string variant;  // that ran, or could not be compiled
  double seconds = 0;   // on the device; 0 where the queue has no timestamps
  std::string failure;  // "" where it passed
};

/// What a model will use.
struct ProbeRequest {
  std::set<kernels::MatrixKind> matrices;
  std::set<kernels::MatrixKind> tables;   // that rows are looked up in
  std::set<kernels::MatrixKind> experts;  // of a mixture
  std::set<kernels::MatrixKind> gated;    // of gate and up in one
  bool media = false;                     // pictures and sounds
  uint32_t tower_head_dim = 0;            // of an encoder of pictures; 0: there is none
  bool conformer = false;                 // an encoder of sounds
  std::vector<AttentionKind> attention;
  kernels::KvType kv_type = kernels::KvType::f16;
  bool drafts = false;     // a drafter guesses
  ProbeReport known;       // of an earlier call; else the cache file is asked
  std::string cache_file;  // "": nothing on disk
  /// Never falls, ends with 1; from the caller's thread. Not called where nothing is to be checked.
  std::function<void(double)> progress;
  /// Called for each check that was decided, once the probe has ended, with an error or without.
  std::function<void(const ProbeOutcome&)> outcome;

  // For tests of the probe itself.
  const vk::Caps* caps = nullptr;  // instead of the device's
  /// May change what a variant has computed before it is compared; from any thread.
  std::function<void(std::string_view kernel, std::string_view variant, std::span<float>)> corrupt;
};

/// Where checks run.
struct ProbeDevice {
  vk::Device& device;
  vk::PipelineCache& pipelines;
};

/// Runs what is not known yet, on several devices of one driver at a time where there are several:
/// for drivers that compile on the thread that executes. Errors: device (also where the last
/// variant of a kernel fails: nothing is left to compute with), device_lost, out_of_memory.
Result<ProbeReport> probe(std::span<const ProbeDevice> devices, const ProbeRequest& request);
/// On one.
Result<ProbeReport> probe(vk::Device& device, vk::PipelineCache& pipelines,
                          const ProbeRequest& request);

}  // namespace kimberlite::runtime
