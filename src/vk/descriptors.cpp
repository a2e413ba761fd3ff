#include "vk/descriptors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/numeric.hpp"

namespace kimberlite::vk {
namespace {

constexpr uint32_t kSetsPerPool = 64;
constexpr uint32_t kStoragePerPool = kSetsPerPool * 6;
constexpr uint32_t kTexelPerPool = kSetsPerPool * 2;

uint32_t count_kind(std::span<const BoundRange> ranges, BindingKind kind) {
  return static_cast<uint32_t>(std::count_if(
      ranges.begin(), ranges.end(), [&](const BoundRange& bound) { return bound.kind == kind; }));
}

Error bad_range(uint32_t binding, const BufferRange& range, const std::string& what) {
  return {ErrorCode::invalid_argument,
          fmt::format("binding {} on buffer {}: {}", binding, range.buffer->name(), what)};
}

}  // namespace

Status DescriptorArena::check_range(uint32_t binding, const BoundRange& bound) const {
  const BufferRange& range = bound.range;
  KL_CHECK(range.buffer != nullptr, "bound range without a buffer");
  const auto end = checked_add(range.offset_bytes, range.n_bytes);
  if (range.n_bytes == 0 || !end || *end > range.buffer->n_bytes()) {
    return bad_range(binding, range,
                     fmt::format("{} bytes at offset {}, the buffer has {}", range.n_bytes,
                                 range.offset_bytes, range.buffer->n_bytes()));
  }
  const DeviceLimits& limits = device_->snapshot().limits;
  const bool texel = bound.kind == BindingKind::uniform_texel;
  const uint64_t alignment = texel ? limits.texel_alignment : limits.storage_alignment;
  if (alignment != 0 && range.offset_bytes % alignment != 0) {
    return bad_range(
        binding, range,
        fmt::format("offset {} is no multiple of the device's {}", range.offset_bytes, alignment));
  }
  const uint64_t limit =
      texel ? limits.max_texel_elements * 16 : device_->caps().max_storage_range_bytes;
  if (range.n_bytes > limit) {
    return bad_range(binding, range,
                     fmt::format("{} bytes, one {} binding spans at most {}", range.n_bytes,
                                 texel ? "texel" : "storage", limit));
  }
  if (texel && range.n_bytes % 16 != 0) {
    return bad_range(binding, range,
                     fmt::format("{} bytes are no multiple of a texel's 16", range.n_bytes));
  }
  return {};
}

Status DescriptorArena::grow(uint32_t n_storage, uint32_t n_texel) {
  storage_left_ = std::max(n_storage, kStoragePerPool);
  texel_left_ = std::max(n_texel, kTexelPerPool);
  sets_left_ = kSetsPerPool;
  const std::array<VkDescriptorPoolSize, 2> sizes = {
      VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, storage_left_},
      VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, texel_left_}};
  auto info = vk_info<VkDescriptorPoolCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO);
  info.maxSets = sets_left_;
  info.poolSizeCount = static_cast<uint32_t>(sizes.size());
  info.pPoolSizes = sizes.data();
  VkDescriptorPool pool = VK_NULL_HANDLE;
  const Status made = check(vkCreateDescriptorPool(device_->get(), &info, nullptr, &pool),
                            "vkCreateDescriptorPool");
  if (!made.ok()) {
    sets_left_ = 0;
    return made;
  }
  pools_.emplace_back(device_->get(), pool);
  return {};
}

Result<VkBufferView> DescriptorArena::make_view(const BufferRange& range) {
  auto info = vk_info<VkBufferViewCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO);
  info.buffer = range.buffer->get();
  info.format = VK_FORMAT_R32G32B32A32_UINT;
  info.offset = range.offset_bytes;
  info.range = range.n_bytes;
  VkBufferView view = VK_NULL_HANDLE;
  KL_VK(vkCreateBufferView(device_->get(), &info, nullptr, &view));
  views_.emplace_back(device_->get(), view);
  return view;
}

Result<VkDescriptorSet> DescriptorArena::add(const Pipeline& pipeline,
                                             std::span<const BoundRange> ranges) {
  for (uint32_t i = 0; i < ranges.size(); ++i) KL_TRY(check_range(i, ranges[i]));
  const uint32_t n_storage = count_kind(ranges, BindingKind::storage);
  const uint32_t n_texel = count_kind(ranges, BindingKind::uniform_texel);
  if (sets_left_ == 0 || storage_left_ < n_storage || texel_left_ < n_texel)
    KL_TRY(grow(n_storage, n_texel));

  const VkDescriptorSetLayout layout = pipeline.set_layout.get();
  auto info = vk_info<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
  info.descriptorPool = pools_.back().get();
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  KL_VK(vkAllocateDescriptorSets(device_->get(), &info, &set));
  --sets_left_;
  storage_left_ -= n_storage;
  texel_left_ -= n_texel;
  ++n_sets_;

  std::vector<VkWriteDescriptorSet> writes(ranges.size());
  std::vector<VkDescriptorBufferInfo> buffers(ranges.size());  // both are pointed into below
  std::vector<VkBufferView> views(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    const BufferRange& range = ranges[i].range;
    VkWriteDescriptorSet& write = writes[i];
    write = vk_info<VkWriteDescriptorSet>(VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET);
    write.dstSet = set;
    write.dstBinding = static_cast<uint32_t>(i);
    write.descriptorCount = 1;
    if (ranges[i].kind == BindingKind::uniform_texel) {
      KL_ASSIGN(views[i], make_view(range));
      write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
      write.pTexelBufferView = &views[i];
    } else {
      buffers[i] = {range.buffer->get(), range.offset_bytes, range.n_bytes};
      write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      write.pBufferInfo = &buffers[i];
    }
  }
  vkUpdateDescriptorSets(device_->get(), static_cast<uint32_t>(writes.size()), writes.data(), 0,
                         nullptr);
  return set;
}

}  // namespace kimberlite::vk
