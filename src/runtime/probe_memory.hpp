// Inputs and outputs of all checks in one buffer, so that a round of the probe is one upload, one
// submission and one download. Internal to the probe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "graph/tensor.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

class ProbeMemory {
 public:
  explicit ProbeMemory(uint32_t alignment) : alignment_(alignment) {}
  ProbeMemory(const ProbeMemory&) = delete;  // tensors point to the buffer
  ProbeMemory& operator=(const ProbeMemory&) = delete;

  /// A tensor with these contents at the start of every round.
  graph::Tensor add(const void* data, uint64_t n_bytes, graph::DType dtype, graph::Shape shape);
  graph::Tensor add(std::span<const float> values, graph::Shape shape) {
    return add(values.data(), values.size_bytes(), graph::DType::f32, shape);
  }
  graph::Tensor add(std::span<const uint32_t> values, graph::Shape shape) {
    return add(values.data(), values.size_bytes(), graph::DType::u32, shape);
  }
  /// A tensor of NaN (all bits set), so that what is not written shows.
  graph::Tensor add_output(graph::DType dtype, graph::Shape shape);

  /// A table of the tensors' addresses, u32 [n, 2]; all bits set for an unset tensor.
  graph::Tensor add_table(const std::vector<graph::Tensor>& segments);

  /// Errors: out_of_memory, device, device_lost.
  Status upload(vk::Device& device);
  Status download(vk::Device& device);

  /// Of the last download.
  [[nodiscard]] std::span<std::byte> bytes(const graph::Tensor& tensor) {
    return std::span(results_).subspan(tensor.offset_bytes, tensor.n_bytes);
  }

 private:
  /// An address that is known once there is a buffer.
  struct Link {
    uint64_t at_bytes = 0;
    uint64_t target_bytes = 0;
  };

  uint32_t alignment_;
  std::vector<Link> links_;
  std::vector<std::byte> initial_;
  std::vector<std::byte> results_;
  vk::Buffer buffer_;
};

}  // namespace kimberlite::runtime
