// The device that gpu tests run on, and the few things every such test does: tensors up, a graph
// run, tensors down, no word from the validation layer.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "graph/executable.hpp"
#include "graph/graph.hpp"
#include "vk/device.hpp"
#include "vk/memory.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::testing {

/// One instance, device and pipeline cache for the whole test program, with synchronisation
/// validation where the layer is installed. Device 0 of the driver that ctest selected.
struct Gpu {
  std::unique_ptr<vk::Instance> instance;
  std::unique_ptr<vk::Device> device;
  std::unique_ptr<vk::PipelineCache> pipelines;
  bool validated = false;

  /// Aborts with the error where there is no usable device: the gpu tier needs one.
  static Gpu& get();
};

/// Base of kernel tests.
class GpuTest : public ::testing::Test {
 protected:
  Gpu& gpu_ = Gpu::get();
  /// What graphs are built with. A copy, so that a test may change it.
  vk::Caps caps_ = gpu_.device->caps();

  graph::Tensor upload(const std::vector<float>& values, graph::Shape shape);
  graph::Tensor upload(const std::vector<uint32_t>& values, graph::Shape shape);
  graph::Tensor upload(const std::vector<int32_t>& values, graph::Shape shape);
  /// Opaque bytes as 16-byte units; padded with zeros.
  graph::Tensor upload_wide(const void* data, uint64_t n_bytes);
  /// u32 [n, 2]: where each tensor is, for shaders that follow addresses; 0 for an unset tensor.
  graph::Tensor upload_addresses(const std::vector<graph::Tensor>& tensors);
  /// A buffer filled with NaN (f32) or 0xffffffff, so that an unwritten element shows.
  graph::Tensor poisoned(graph::DType dtype, graph::Shape shape);

  std::vector<float> download(const graph::Tensor& tensor);
  std::vector<uint32_t> download_u32(const graph::Tensor& tensor);
  std::vector<std::byte> download_bytes(const graph::Tensor& tensor);

  /// Plans, records, submits and waits.
  void run(const graph::Graph& graph, const graph::ExecutableOptions& options = {});

  /// Runs `body` once for each variant of the kernel that this device can run, by name; `body`
  /// gets a policy that allows no other variant of this kernel. Caps::is_cpu is cleared meanwhile,
  /// so that variants meant for GPUs are tested on CPU drivers as well.
  void for_each_variant(const graph::KernelDesc& kernel,
                        const std::function<void(const graph::VariantPolicy&)>& body);

  /// Normal values from a seed: the same on every machine.
  static std::vector<float> random_values(uint64_t n, uint32_t seed, float scale = 1.0f);

  /// Validation messages since the test began, which then no longer fail it: for tests that plant
  /// an error.
  std::vector<std::string> take_messages();

  /// Fails the test for every validation message.
  void TearDown() override;

 private:
  graph::Tensor upload_bytes(const void* data, uint64_t n_bytes, graph::DType dtype,
                             graph::Shape shape);
  std::vector<std::unique_ptr<vk::Buffer>> buffers_;
  size_t n_messages_ = gpu_.instance->validation_messages().size();
};

}  // namespace kimberlite::testing
