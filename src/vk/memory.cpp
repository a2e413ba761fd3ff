// Buffers, arenas, and copies between them and the host.
#include "vk/memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "vk/recorder.hpp"
#include "vk/vulkan_query.hpp"

namespace kimberlite::vk {
namespace {

constexpr uint64_t kStagingBytes = 16 * kMiB;

constexpr VkBufferUsageFlags kUsage =
    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
    VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;

struct Allocation {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint32_t type = 0;
};

Error out_of_memory(const Device& device, const std::string& name, uint64_t n_bytes,
                    MemoryKind kind, uint32_t type, VkResult result) {
  const uint32_t heap = device.snapshot().memory_types[type].heap;
  return {ErrorCode::out_of_memory,
          fmt::format("{}: buffer {}: {} bytes of {} memory asked for, heap {} has {} bytes, "
                      "Kimberlite holds {} on this device ({})",
                      device.snapshot().name, name, n_bytes, memory_kind_text(kind), heap,
                      device.snapshot().heaps[heap].n_bytes, device.counters().allocated_bytes,
                      result_text(result))};
}

bool is_out_of_memory(VkResult result) {
  return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
}

/// Tries the plan's memory types for this kind in order; a full heap gives way to the next type.
Result<Allocation> allocate_memory(const Device& device, VkBuffer buffer, uint64_t n_bytes,
                                   MemoryKind kind, const std::string& name) {
  VkMemoryRequirements needs{};
  vkGetBufferMemoryRequirements(device.get(), buffer, &needs);
  const std::vector<uint32_t>& types = device.plan().memory_types[static_cast<size_t>(kind)];
  VkResult last = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  uint32_t last_type = types.front();
  if (device.counters().allocated_bytes + n_bytes > device.memory_limit()) {
    return out_of_memory(device, name, n_bytes, kind, last_type, last);
  }
  for (const uint32_t type : types) {
    if ((needs.memoryTypeBits & (1u << type)) == 0) continue;
    auto dedicated =
        vk_info<VkMemoryDedicatedAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
    dedicated.buffer = buffer;
    auto flags = vk_info<VkMemoryAllocateFlagsInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    flags.pNext = &dedicated;
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    auto info = vk_info<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    info.pNext = &flags;
    info.allocationSize = needs.size;
    info.memoryTypeIndex = type;
    Allocation allocation{VK_NULL_HANDLE, type};
    last = vkAllocateMemory(device.get(), &info, nullptr, &allocation.memory);
    if (last == VK_SUCCESS) return allocation;
    last_type = type;
    if (!is_out_of_memory(last)) return check(last, "vkAllocateMemory").error();
  }
  return out_of_memory(device, name, n_bytes, kind, last_type, last);
}

void set_object_name(Device& device, VkBuffer buffer, const std::string& name) {
  if (vkSetDebugUtilsObjectNameEXT == nullptr) return;
  auto info =
      vk_info<VkDebugUtilsObjectNameInfoEXT>(VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT);
  info.objectType = VK_OBJECT_TYPE_BUFFER;
  info.objectHandle = reinterpret_cast<uint64_t>(buffer);
  info.pObjectName = name.c_str();
  vkSetDebugUtilsObjectNameEXT(device.get(), &info);  // only a name: its failure changes nothing
}

Status check_copy(const BufferRange& range, uint64_t n_bytes, uint64_t offset) {
  const auto end = checked_add(offset, n_bytes);
  if (end && *end <= range.n_bytes) return {};
  return Error{ErrorCode::invalid_argument,
               fmt::format("buffer {}: copying {} bytes at offset {} of a range of {} bytes",
                           range.buffer->name(), n_bytes, offset, range.n_bytes)};
}

Status run(Device& device, Recorder&& recorder) {
  KL_ASSIGN(const CommandBuffer commands, recorder.finish());
  return device.run(commands.get());
}

/// What device work wrote becomes visible to the host.
Status flush_to_host(Device& device) {
  KL_ASSIGN(Recorder recorder, Recorder::begin(device, "flush to host"));
  recorder.barrier(Access::compute, Access::host);
  recorder.barrier(Access::transfer, Access::host);
  return run(device, std::move(recorder));
}

/// Calls `step(done, n)` for pieces that fit the staging buffer.
Status in_pieces(uint64_t n_bytes, const std::function<Status(uint64_t, uint64_t)>& step) {
  for (uint64_t done = 0; done < n_bytes; done += kStagingBytes)
    KL_TRY(step(done, std::min(kStagingBytes, n_bytes - done)));
  return {};
}

}  // namespace

Result<Buffer> Buffer::make(Device& device, uint64_t n_bytes, MemoryKind kind, std::string name) {
  const uint64_t limit = device.caps().max_arena_bytes;
  if (n_bytes == 0 || n_bytes > limit) {
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("buffer {}: {} bytes asked for, one buffer has 1 to {}", name, n_bytes, limit)};
  }
  Buffer result;
  result.n_bytes_ = n_bytes;
  result.name_ = std::move(name);
  auto info = vk_info<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
  info.size = n_bytes;
  info.usage = kUsage;
  VkBuffer buffer = VK_NULL_HANDLE;
  const VkResult made = vkCreateBuffer(device.get(), &info, nullptr, &buffer);
  if (is_out_of_memory(made)) {  // lavapipe: beyond 4 GiB already here
    const uint32_t type = device.plan().memory_types[static_cast<size_t>(kind)].front();
    return out_of_memory(device, result.name_, n_bytes, kind, type, made);
  }
  KL_TRY(check(made, "vkCreateBuffer"));
  result.buffer_ = {device.get(), buffer};
  set_object_name(device, buffer, result.name_);

  KL_ASSIGN(const Allocation allocation,
            allocate_memory(device, buffer, n_bytes, kind, result.name_));
  result.memory_ = {device.get(), allocation.memory};
  result.device_ = &device;
  device.count_allocation(static_cast<int64_t>(n_bytes));
  KL_VK(vkBindBufferMemory(device.get(), buffer, allocation.memory, 0));
  auto addressed = vk_info<VkBufferDeviceAddressInfo>(VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO);
  addressed.buffer = buffer;
  result.address_ = vkGetBufferDeviceAddress(device.get(), &addressed);

  const MemoryTypeFacts& type = device.snapshot().memory_types[allocation.type];
  // The mappable window of a discrete card is left unmapped: reading through it is very slow.
  const bool wants_map = kind != MemoryKind::device || device.caps().unified_memory;
  if (wants_map && type.host_visible && type.host_coherent) {
    void* address = nullptr;
    KL_VK(vkMapMemory(device.get(), allocation.memory, 0, VK_WHOLE_SIZE, 0, &address));
    result.mapped_ = static_cast<std::byte*>(address);
    // A CPU driver's "device memory" is ours to advise on: weights stream through few TLB entries.
    if (device.caps().is_cpu) os::prefer_huge_pages(address, n_bytes);
  }
  return result;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(memory_, other.memory_);
  std::swap(buffer_, other.buffer_);
  std::swap(n_bytes_, other.n_bytes_);
  std::swap(address_, other.address_);
  std::swap(mapped_, other.mapped_);
  std::swap(name_, other.name_);
  return *this;
}

Buffer::~Buffer() {
  if (device_ != nullptr) device_->count_allocation(-static_cast<int64_t>(n_bytes_));
}

std::vector<uint64_t> Arena::plan(const std::vector<uint64_t>& range_bytes, const Caps& caps) {
  std::vector<uint64_t> buffers;
  for (const uint64_t n_bytes : range_bytes) {
    const uint64_t needed =
        align_up<uint64_t>(std::max<uint64_t>(n_bytes, 1), caps.storage_alignment);
    // A range longer than an arena gets a buffer of its own, which Buffer::make refuses by name.
    if (buffers.empty() || buffers.back() + needed > caps.max_arena_bytes) {
      buffers.push_back(needed);
    } else {
      buffers.back() += needed;
    }
  }
  return buffers;
}

Result<std::vector<BufferRange>> Arena::allocate(const std::vector<uint64_t>& range_bytes) {
  const Caps& caps = device_->caps();
  const std::vector<uint64_t> sizes = plan(range_bytes, caps);
  const size_t first = buffers_.size();
  for (const uint64_t n_bytes : sizes) {
    auto buffer =
        Buffer::make(*device_, n_bytes, kind_, fmt::format("{} {}", name_, buffers_.size()));
    if (!buffer.ok()) {
      buffers_.resize(first);  // all or nothing
      return std::move(buffer).error();
    }
    buffers_.push_back(std::make_unique<Buffer>(std::move(buffer).value()));
  }
  std::vector<BufferRange> ranges;
  size_t at = first;
  uint64_t offset = 0;
  for (const uint64_t n_bytes : range_bytes) {
    const uint64_t needed =
        align_up<uint64_t>(std::max<uint64_t>(n_bytes, 1), caps.storage_alignment);
    if (offset + needed > buffers_[at]->n_bytes()) {
      ++at;
      offset = 0;
    }
    ranges.push_back({buffers_[at].get(), offset, n_bytes});
    offset += needed;
  }
  return ranges;
}

uint64_t Arena::n_bytes() const {
  uint64_t sum = 0;
  for (const auto& buffer : buffers_) sum += buffer->n_bytes();
  return sum;
}

Status write_range(Device& device, const BufferRange& range, const void* data, uint64_t n_bytes,
                   uint64_t offset_in_range) {
  KL_TRY(check_copy(range, n_bytes, offset_in_range));
  if (n_bytes == 0) return {};
  const auto* bytes = static_cast<const std::byte*>(data);
  const uint64_t offset = range.offset_bytes + offset_in_range;
  if (range.buffer->mapped() != nullptr) {
    KL_TRY(device.wait(device.last_submitted()));  // earlier work may still read the old bytes
    std::memcpy(range.buffer->mapped() + offset, bytes, n_bytes);
    return {};  // the next submission makes host writes visible to the device
  }
  KL_ASSIGN(const Buffer staging, Buffer::make(device, std::min(n_bytes, kStagingBytes),
                                               MemoryKind::upload, "staging upload"));
  return in_pieces(n_bytes, [&](uint64_t done, uint64_t n) -> Status {
    std::memcpy(staging.mapped(), bytes + done, n);
    KL_ASSIGN(Recorder recorder, Recorder::begin(device, "upload"));
    recorder.barrier(Access::compute, Access::transfer);
    recorder.copy({&staging, 0, n}, {range.buffer, offset + done, n}, n);
    recorder.barrier(Access::transfer, Access::compute);
    return run(device, std::move(recorder));
  });
}

Status read_range(Device& device, const BufferRange& range, void* data, uint64_t n_bytes,
                  uint64_t offset_in_range) {
  KL_TRY(check_copy(range, n_bytes, offset_in_range));
  if (n_bytes == 0) return {};
  auto* bytes = static_cast<std::byte*>(data);
  const uint64_t offset = range.offset_bytes + offset_in_range;
  if (range.buffer->mapped() != nullptr) {
    KL_TRY(flush_to_host(device));
    std::memcpy(bytes, range.buffer->mapped() + offset, n_bytes);
    return {};
  }
  KL_ASSIGN(const Buffer staging, Buffer::make(device, std::min(n_bytes, kStagingBytes),
                                               MemoryKind::readback, "staging readback"));
  return in_pieces(n_bytes, [&](uint64_t done, uint64_t n) -> Status {
    KL_ASSIGN(Recorder recorder, Recorder::begin(device, "readback"));
    recorder.barrier(Access::compute, Access::transfer);
    recorder.copy({range.buffer, offset + done, n}, {&staging, 0, n}, n);
    recorder.barrier(Access::transfer, Access::host);
    KL_TRY(run(device, std::move(recorder)));
    std::memcpy(bytes + done, staging.mapped(), n);
    return {};
  });
}

}  // namespace kimberlite::vk
