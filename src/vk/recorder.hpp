// Records one command buffer: a thin wrapper without policy. Barriers are placed by graph, which
// knows who reads and writes what.
#pragma once

#include <volk.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::vk {

/// A recorded command buffer that may be submitted any number of times, one at a time. It has a
/// command pool of its own, so different threads may record different ones.
class CommandBuffer {
 public:
  CommandBuffer() = default;

  [[nodiscard]] VkCommandBuffer get() const { return buffer_; }
  explicit operator bool() const { return static_cast<bool>(pool_); }

  /// Nanoseconds of each timestamp, since an arbitrary start; call after the submission finished.
  /// Errors: device, unsupported (a queue without timestamps).
  Result<std::vector<double>> read_timestamps(const Device& device) const;
  [[nodiscard]] uint32_t n_timestamps() const { return n_timestamps_; }

 private:
  friend class Recorder;
  Handle<VkCommandPool, &vkDestroyCommandPool> pool_;
  Handle<VkQueryPool, &vkDestroyQueryPool> queries_;
  VkCommandBuffer buffer_ = VK_NULL_HANDLE;  // Freed with its pool.
  uint32_t n_timestamps_ = 0;
};

/// Who touches memory before or after a barrier.
enum class Access : uint8_t {
  compute,   // shader reads and writes
  indirect,  // arguments of an indirect dispatch
  transfer,  // copies and fills
  host,      // the host, through mapped memory
};

/// Between begin and finish nothing can fail: bad arguments are programmer errors.
class Recorder {
 public:
  /// Errors: out_of_memory, device.
  static Result<Recorder> begin(Device& device, const std::string& name, uint32_t n_timestamps = 0);

  void bind(const Pipeline& pipeline, VkDescriptorSet set);
  void push(const Pipeline& pipeline, const void* data, uint32_t n_bytes);
  void dispatch(uint32_t x, uint32_t y = 1, uint32_t z = 1);
  /// Reads three uint32 at `offset_bytes` (a multiple of 4) of the range when it is executed.
  void dispatch_indirect(const BufferRange& range, uint64_t offset_bytes = 0);

  /// Everything before with access `from` is finished and visible to everything after with `to`.
  void barrier(Access from, Access to);
  /// The barrier between two dependent nodes: shader writes to shader reads, writes and indirect
  /// arguments.
  void compute_barrier();

  void copy(const BufferRange& from, const BufferRange& to, uint64_t n_bytes,
            uint64_t from_offset_bytes = 0, uint64_t to_offset_bytes = 0);
  /// Fills the range with a 32-bit value; offset and size are multiples of 4.
  void fill(const BufferRange& range, uint32_t value);

  /// Timestamp `index` (below n_timestamps) is written when all earlier work has finished.
  void timestamp(uint32_t index);

  /// Names a region for captures and validation messages; nothing without VK_EXT_debug_utils.
  void begin_label(const char* name);
  void end_label();

  /// Errors: out_of_memory, device (the driver refused the recording as a whole).
  Result<CommandBuffer> finish();

 private:
  CommandBuffer commands_;
  Device* device_ = nullptr;  // Borrowed from the engine.
};

}  // namespace kimberlite::vk
