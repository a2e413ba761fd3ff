#include "runtime/probe_memory.hpp"

#include <cstring>

#include "base/numeric.hpp"

namespace kimberlite::runtime {

graph::Tensor ProbeMemory::add(const void* data, uint64_t n_bytes, graph::DType dtype,
                               graph::Shape shape) {
  const graph::Tensor tensor = add_output(dtype, shape);
  KL_CHECK(n_bytes == tensor.n_bytes, "contents of another size than the tensor");
  std::memcpy(&initial_[tensor.offset_bytes], data, n_bytes);
  return tensor;
}

graph::Tensor ProbeMemory::add_output(graph::DType dtype, graph::Shape shape) {
  const uint64_t n_bytes = shape.n_elements() * graph::dtype_bytes(dtype);
  const uint64_t offset = align_up<uint64_t>(initial_.size(), alignment_);
  initial_.resize(offset + n_bytes, std::byte{0xff});
  return graph::Tensor::of({&buffer_, offset, n_bytes}, dtype, shape);
}

graph::Tensor ProbeMemory::add_table(const std::vector<graph::Tensor>& segments) {
  const graph::Tensor table = add_output(graph::DType::u32, graph::Shape{segments.size(), 2});
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i].valid()) continue;
    links_.push_back({table.offset_bytes + i * sizeof(uint64_t), segments[i].offset_bytes});
  }
  return table;
}

Status ProbeMemory::upload(vk::Device& device) {
  if (buffer_.n_bytes() < initial_.size()) {
    KL_ASSIGN(buffer_,
              vk::Buffer::make(device, initial_.size(), vk::MemoryKind::device, "kernel probe"));
  }
  for (const Link& link : links_) {
    const uint64_t address = buffer_.address() + link.target_bytes;
    std::memcpy(&initial_[link.at_bytes], &address, sizeof(address));
  }
  return vk::write_range(device, {&buffer_, 0, initial_.size()}, initial_.data(), initial_.size());
}

Status ProbeMemory::download(vk::Device& device) {
  results_.resize(initial_.size());
  return vk::read_range(device, {&buffer_, 0, results_.size()}, results_.data(), results_.size());
}

}  // namespace kimberlite::runtime
