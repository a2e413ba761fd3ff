// Compute pipelines by (module, bindings, push size, specialisation), made once and kept; the
// driver's pipeline cache goes to disk, keyed by driver and build.
#pragma once

#include <volk.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/device.hpp"
#include "vk/handle.hpp"

namespace kimberlite::vk {

enum class BindingKind : uint8_t {
  storage,        // storage buffer
  uniform_texel,  // uniform texel buffer, RGBA32UI
};

/// What makes a pipeline; the key of the cache. Specialisation constant i has constant_id i; the
/// workgroup width is a specialisation constant like any other.
struct PipelineSpec {
  std::string name;                   // for messages and object names, not part of the identity
  std::span<const uint32_t> words;    // SPIR-V; must outlive the cache (embedded modules do)
  std::vector<BindingKind> bindings;  // binding i of set 0
  uint32_t push_bytes = 0;
  uint32_t subgroup_size = 0;  // 0: Caps::subgroup_size; else at least Caps::min_subgroup_size
  std::vector<uint32_t> constants;

  bool operator<(const PipelineSpec& other) const;  // ignores name
};

struct Pipeline {
  Handle<VkDescriptorSetLayout, &vkDestroyDescriptorSetLayout> set_layout;
  Handle<VkPipelineLayout, &vkDestroyPipelineLayout> layout;
  Handle<VkPipeline, &vkDestroyPipeline> pipeline;
  double seconds = 0;  // that its creation took
};

/// Owns every pipeline of a device. Thread-safe.
class PipelineCache {
 public:
  /// `cache_file`: where the driver's blob is read from and written to ("" = nowhere). A file of
  /// another driver or build, or a damaged one, is ignored and replaced.
  static Result<std::unique_ptr<PipelineCache>> make(Device& device, std::string cache_file);
  ~PipelineCache();

  /// Pipelines live as long as the cache; the pointer is stable. All of them run with full
  /// subgroups of the size that the spec says.
  Result<const Pipeline*> get(const PipelineSpec& spec);

  /// Makes the missing ones on several threads; `progress(done, total)` is called from this thread.
  Status prepare(const std::vector<PipelineSpec>& specs,
                 const std::function<void(size_t, size_t)>& progress = {});

  /// Writes the driver's blob. Failing to write is not an error worth stopping for: returned, not
  /// fatal.
  Status save();

  /// Calls `visit` for every pipeline so far.
  void each(const std::function<void(const PipelineSpec&, const Pipeline&)>& visit) const;

  [[nodiscard]] size_t n_pipelines() const;
  [[nodiscard]] double creation_seconds() const;  // summed over all vkCreateComputePipelines calls

 private:
  struct State;
  PipelineCache();
  std::unique_ptr<State> state_;
};

}  // namespace kimberlite::vk
