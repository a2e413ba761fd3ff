#include "support/gpu.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include "kernels/registry.hpp"

namespace kimberlite::testing {
namespace {

template <typename T>
T require(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "gpu tests need a device: %s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(result).value();
}

void require(const Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.error().message.c_str());
    std::abort();
  }
}

/// Allows one variant of one kernel, everything of the others, and nothing of those that the kernel
/// stands in for.
class OnlyVariant : public graph::VariantPolicy {
 public:
  OnlyVariant(const graph::KernelDesc& kernel, std::string_view variant)
      : kernel_(kernel), variant_(variant) {
    for (const graph::KernelDesc* other : kernels::all_kernels()) {
      if (other->instead == &kernel) replaced_.insert(other->name);
    }
  }
  bool allows(std::string_view kernel, std::string_view variant) const override {
    if (replaced_.contains(kernel)) return false;
    return kernel != kernel_.name || variant == variant_;
  }

 private:
  const graph::KernelDesc& kernel_;  // Borrowed: a constant.
  std::string_view variant_;
  std::set<std::string_view> replaced_;
};

}  // namespace

Gpu& Gpu::get() {
  static Gpu* gpu = [] {
    auto* made = new Gpu;  // Lives until the process ends: some drivers dislike late destruction.
    auto validated = vk::Instance::make({.validation = true});
    made->validated = validated.ok();
    made->instance =
        validated.ok() ? std::move(validated).value() : require(vk::Instance::make({}));
    const auto snapshots = made->instance->snapshots();
    if (snapshots.empty()) {
      std::fprintf(stderr, "gpu tests need a device: the driver lists none\n");
      std::abort();
    }
    const vk::DevicePlan plan = require(vk::plan_device(snapshots[0]));
    made->device = require(vk::Device::make(*made->instance, 0, plan));
    made->pipelines = require(vk::PipelineCache::make(*made->device, ""));
    return made;
  }();
  return *gpu;
}

graph::Tensor GpuTest::upload_bytes(const void* data, uint64_t n_bytes, graph::DType dtype,
                                    graph::Shape shape) {
  const uint64_t padded = shape.n_elements() * graph::dtype_bytes(dtype);
  KL_CHECK(padded >= n_bytes, "more bytes than the shape holds");
  std::vector<std::byte> bytes(padded);
  if (n_bytes != 0) std::memcpy(bytes.data(), data, n_bytes);
  buffers_.push_back(std::make_unique<vk::Buffer>(
      require(vk::Buffer::make(*gpu_.device, padded, vk::MemoryKind::device, "test"))));
  const vk::BufferRange range{buffers_.back().get(), 0, padded};
  require(vk::write_range(*gpu_.device, range, bytes.data(), padded));
  return graph::Tensor::of(range, dtype, shape);
}

graph::Tensor GpuTest::upload(const std::vector<float>& values, graph::Shape shape) {
  return upload_bytes(values.data(), values.size() * 4, graph::DType::f32, shape);
}

graph::Tensor GpuTest::upload(const std::vector<uint32_t>& values, graph::Shape shape) {
  return upload_bytes(values.data(), values.size() * 4, graph::DType::u32, shape);
}

graph::Tensor GpuTest::upload(const std::vector<int32_t>& values, graph::Shape shape) {
  return upload_bytes(values.data(), values.size() * 4, graph::DType::i32, shape);
}

graph::Tensor GpuTest::upload_wide(const void* data, uint64_t n_bytes) {
  return upload_bytes(data, n_bytes, graph::DType::wide, graph::Shape{(n_bytes + 15) / 16});
}

graph::Tensor GpuTest::upload_addresses(const std::vector<graph::Tensor>& tensors) {
  std::vector<uint64_t> addresses;
  for (const graph::Tensor& tensor : tensors) {
    addresses.push_back(tensor.valid() ? tensor.buffer->address() + tensor.offset_bytes : 0);
  }
  return upload_bytes(addresses.data(), addresses.size() * sizeof(uint64_t), graph::DType::u32,
                      graph::Shape{addresses.size(), 2});
}

graph::Tensor GpuTest::poisoned(graph::DType dtype, graph::Shape shape) {
  const std::vector<uint32_t> words(shape.n_elements() * graph::dtype_bytes(dtype) / 4, UINT32_MAX);
  return upload_bytes(words.data(), words.size() * 4, dtype, shape);
}

std::vector<std::byte> GpuTest::download_bytes(const graph::Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.n_bytes);
  require(vk::read_range(*gpu_.device, {tensor.buffer, tensor.offset_bytes, tensor.n_bytes},
                         bytes.data(), bytes.size()));
  return bytes;
}

std::vector<float> GpuTest::download(const graph::Tensor& tensor) {
  const std::vector<std::byte> bytes = download_bytes(tensor);
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<uint32_t> GpuTest::download_u32(const graph::Tensor& tensor) {
  const std::vector<std::byte> bytes = download_bytes(tensor);
  std::vector<uint32_t> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void GpuTest::run(const graph::Graph& graph, const graph::ExecutableOptions& options) {
  const graph::Plan plan = graph::make_plan(graph);
  const vk::Buffer scratch = require(vk::Buffer::make(
      *gpu_.device, std::max<uint64_t>(plan.scratch_bytes, 16), vk::MemoryKind::device, "scratch"));
  const graph::Executable executable = require(graph::Executable::make(
      *gpu_.device, *gpu_.pipelines, graph, plan, {&scratch, 0, scratch.n_bytes()}, options));
  uint64_t value = 0;
  for (const VkCommandBuffer& part : executable.parts()) {
    value = require(gpu_.device->submit({&part, 1}));
  }
  require(gpu_.device->wait(value));
}

void GpuTest::for_each_variant(const graph::KernelDesc& kernel,
                               const std::function<void(const graph::VariantPolicy&)>& body) {
  const bool is_cpu = caps_.is_cpu;
  caps_.is_cpu = false;
  for (const graph::Variant& variant : kernel.variants) {
    if (variant.fits != nullptr && !variant.fits(caps_)) continue;
    SCOPED_TRACE(std::string(kernel.name) + ":" + std::string(variant.name));
    body(OnlyVariant(kernel, variant.name));
  }
  caps_.is_cpu = is_cpu;
}

std::vector<float> GpuTest::random_values(uint64_t n, uint32_t seed, float scale) {
  std::mt19937 engine(seed);
  std::vector<float> values(n);
  for (float& value : values) {  // sum of four uniforms: close to normal, identical everywhere
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(engine() >> 8) * 0x1p-24f - 0.5f;
    value = sum * 1.7320508f * scale;
  }
  return values;
}

std::vector<std::string> GpuTest::take_messages() {
  std::vector<std::string> messages = gpu_.instance->validation_messages();
  messages.erase(messages.begin(), messages.begin() + static_cast<long>(n_messages_));
  n_messages_ += messages.size();
  return messages;
}

void GpuTest::TearDown() {
  for (const std::string& message : take_messages()) ADD_FAILURE() << message;
}

}  // namespace kimberlite::testing
