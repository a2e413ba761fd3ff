// Buffers with their own allocation, and arenas that hand out ranges of several buffers.
#pragma once

#include <volk.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/device.hpp"
#include "vk/handle.hpp"

namespace kimberlite::vk {

/// One VkBuffer with one allocation of at most Caps::max_arena_bytes. Usage: storage, by binding
/// and by address, uniform texel, indirect and transfer both ways.
class Buffer {
 public:
  /// Errors: out_of_memory (naming `name`, the bytes asked for and the heap), device.
  static Result<Buffer> make(Device& device, uint64_t n_bytes, MemoryKind kind, std::string name);
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  [[nodiscard]] VkBuffer get() const { return buffer_.get(); }
  [[nodiscard]] uint64_t n_bytes() const { return n_bytes_; }
  [[nodiscard]] uint64_t address() const { return address_; }  // in shaders
  [[nodiscard]] std::byte* mapped() const { return mapped_; }  // nullptr where not host-visible
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  Device* device_ = nullptr;  // Borrowed from the engine.
  Handle<VkDeviceMemory, &vkFreeMemory> memory_;
  Handle<VkBuffer, &vkDestroyBuffer> buffer_;
  uint64_t n_bytes_ = 0;
  uint64_t address_ = 0;
  std::byte* mapped_ = nullptr;
  std::string name_;
};

/// A range of a buffer.
struct BufferRange {
  const Buffer* buffer = nullptr;  // Borrowed from the Arena or the caller.
  uint64_t offset_bytes = 0;
  uint64_t n_bytes = 0;

  [[nodiscard]] uint64_t address() const { return buffer->address() + offset_bytes; }
};

/// Hands out aligned ranges from buffers of bounded size, in order; nothing is freed one by one.
/// plan() and allocate() must see the same sizes in the same order.
class Arena {
 public:
  Arena() = default;
  Arena(Device& device, MemoryKind kind, std::string name)
      : device_(&device), kind_(kind), name_(std::move(name)) {}

  /// Bytes of each buffer that these ranges would need: pure, nothing is allocated.
  static std::vector<uint64_t> plan(const std::vector<uint64_t>& range_bytes, const Caps& caps);
  /// Allocates all buffers for these ranges and returns one range each, in order.
  Result<std::vector<BufferRange>> allocate(const std::vector<uint64_t>& range_bytes);

  [[nodiscard]] uint64_t n_bytes() const;

 private:
  Device* device_ = nullptr;  // Borrowed from the engine.
  MemoryKind kind_ = MemoryKind::device;
  std::string name_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

/// Copies host bytes into a range: straight into mapped memory, else through a small staging
/// buffer of its own. Waits until the copy has finished.
Status write_range(Device& device, const BufferRange& range, const void* data, uint64_t n_bytes,
                   uint64_t offset_in_range = 0);
/// Copies a range to the host. Waits for it; earlier submissions have finished by then.
Status read_range(Device& device, const BufferRange& range, void* data, uint64_t n_bytes,
                  uint64_t offset_in_range = 0);

}  // namespace kimberlite::vk
