#include "graph/graph.hpp"

#include <algorithm>
#include <utility>

namespace kimberlite::graph {

bool can_use(const KernelDesc& kernel, const Variant& variant, const vk::Caps& caps,
             const VariantPolicy* policy) {
  const bool fits = variant.fits == nullptr || variant.fits(caps);
  return fits && (policy == nullptr || policy->allows(kernel.name, variant.name));
}

const Variant* find_variant(const KernelDesc& kernel, const vk::Caps& caps,
                            const VariantPolicy* policy) {
  for (const Variant& variant : kernel.variants) {
    if (can_use(kernel, variant, caps, policy)) return &variant;
  }
  return nullptr;
}

const Variant& pick_variant(const KernelDesc& kernel, const vk::Caps& caps,
                            const VariantPolicy* policy) {
  KL_CHECK(!kernel.variants.empty(), "a kernel needs a variant");
  const Variant* found = find_variant(kernel, caps, policy);
  return found != nullptr ? *found : kernel.variants.back();
}

Tensor Graph::transient(std::string name, DType dtype, Shape shape) {
  const uint64_t n_bytes = shape.n_elements() * dtype_bytes(dtype);
  KL_CHECK(n_bytes > 0, "an empty transient");
  Tensor tensor;
  tensor.transient = static_cast<uint32_t>(transients_.size());
  tensor.n_bytes = n_bytes;
  tensor.dtype = dtype;
  tensor.shape = shape;
  transients_.push_back({std::move(name), n_bytes});
  return tensor;
}

Tensor Graph::counters(uint64_t n) {
  if (!counters_) {
    counters_ = transient("counters", DType::u32, Shape{n});
    transients_.back().zeroed = true;
  }
  Transient& all = transients_[counters_->transient];
  Tensor tensor = *counters_;
  tensor.shape = Shape{n};
  tensor.n_bytes = n * dtype_bytes(DType::u32);
  all.n_bytes = std::max(all.n_bytes, tensor.n_bytes);
  return tensor;
}

uint32_t Graph::keep(std::string_view name) {
  const auto found = std::ranges::find(transients_, name, &Transient::name);
  KL_CHECK(std::ranges::count(transients_, name, &Transient::name) == 1,
           "a name that one transient has");
  found->kept = true;
  return static_cast<uint32_t>(found - transients_.begin());
}

void Graph::add(Node node) {
  KL_CHECK(node.kernel != nullptr && node.variant != nullptr, "a node without a kernel");
  KL_CHECK(node.tensors.size() == node.kernel->bindings.size(), "one tensor for each binding");
  KL_CHECK(node.push.size() == node.kernel->push_bytes, "push constants of the wrong size");
  for (size_t i = 0; i < node.tensors.size(); ++i) {
    const Tensor& tensor = node.tensors[i];
    KL_CHECK(tensor.valid(), "an unset tensor");
    KL_CHECK(tensor.buffer != nullptr || tensor.transient < transients_.size(), "a foreign tensor");
    KL_CHECK(tensor.offset_bytes % caps_->storage_alignment == 0, "a misaligned tensor");
    KL_CHECK(!node.kernel->bindings[i].wide || tensor.n_bytes <= caps_->max_wide_bytes(),
             "a wide tensor beyond what one binding may span");
  }
  KL_CHECK(node.grid[0] > 0 && node.grid[1] > 0 && node.grid[2] > 0, "an empty grid");
  KL_CHECK(node.grid[0] <= caps_->max_grid_x && node.grid[1] <= 65535 && node.grid[2] <= 65535,
           "a grid beyond the device's limit");
  nodes_.push_back(std::move(node));
}

}  // namespace kimberlite::graph
