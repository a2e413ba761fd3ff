// Descriptor sets over buffer ranges, one per graph node, with the texel views that they need.
#pragma once

#include <volk.h>

#include <span>
#include <vector>

#include "base/result.hpp"
#include "vk/memory.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::vk {

/// What binding i of a set sees: exactly this range of the buffer.
struct BoundRange {
  BufferRange range;
  BindingKind kind = BindingKind::storage;
};

/// Owns descriptor pools, sets and views; all of them live as long as the arena. Grows by pools, so
/// the number of sets need not be known. Not thread-safe.
class DescriptorArena {
 public:
  explicit DescriptorArena(Device& device) : device_(&device) {}

  /// A set for the pipeline; `ranges` in binding order, kinds as in the PipelineSpec. Errors:
  /// invalid_argument (a range that is empty, outside its buffer, misaligned or longer than one
  /// descriptor may span: names binding, buffer and both values), out_of_memory, device.
  Result<VkDescriptorSet> add(const Pipeline& pipeline, std::span<const BoundRange> ranges);

  [[nodiscard]] size_t n_sets() const { return n_sets_; }

 private:
  Status check_range(uint32_t binding, const BoundRange& bound) const;
  Status grow(uint32_t n_storage, uint32_t n_texel);
  Result<VkBufferView> make_view(const BufferRange& range);

  Device* device_;  // Borrowed from the engine.
  std::vector<Handle<VkDescriptorPool, &vkDestroyDescriptorPool>> pools_;
  std::vector<Handle<VkBufferView, &vkDestroyBufferView>> views_;
  uint32_t sets_left_ = 0;  // of the last pool
  uint32_t storage_left_ = 0;
  uint32_t texel_left_ = 0;
  size_t n_sets_ = 0;
};

}  // namespace kimberlite::vk
