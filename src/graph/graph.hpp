// Graph: dispatches in order, with declared access. Knows no kernel by name.
#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "graph/kernel_desc.hpp"
#include "graph/tensor.hpp"

namespace kimberlite::graph {

/// One dispatch. Built by a kernel's add_<kernel>(), which has checked the shapes.
struct Node {
  const KernelDesc* kernel = nullptr;
  const Variant* variant = nullptr;
  std::string label;                // for profiles and messages: "blk.3.attn_q"
  std::string work;                 // VariantPolicy::choose; "" where there is one way
  std::vector<Tensor> tensors;      // one for each binding of the kernel
  std::vector<uint32_t> constants;  // specialisation constants, id = index
  std::vector<std::byte> push;      // KernelDesc::push_bytes
  uint32_t subgroup_size = 0;       // 0: Caps::subgroup_size
  std::array<uint32_t, 3> grid{1, 1, 1};
  uint64_t bytes_touched = 0;  // read and written once, for bandwidth figures

  template <typename Push>
  void set_push(const Push& values) {
    push.resize(sizeof(Push));
    std::memcpy(push.data(), &values, sizeof(Push));
  }
};

/// A temporary of the graph; alive from its first to its last use, to the end where it is kept, and
/// throughout where a replay begins with zeros in it.
struct Transient {
  std::string name;
  uint64_t n_bytes = 0;
  bool kept = false;
  bool zeroed = false;
};

class Graph {
 public:
  /// `policy` may be nullptr. Both must outlive the graph.
  explicit Graph(const vk::Caps& caps, const VariantPolicy* policy = nullptr)
      : caps_(&caps), policy_(policy) {}

  [[nodiscard]] const vk::Caps& caps() const { return *caps_; }
  [[nodiscard]] const Variant& pick(const KernelDesc& kernel) const {
    return pick_variant(kernel, *caps_, policy_);
  }
  [[nodiscard]] bool can_use(const KernelDesc& kernel, const Variant& variant) const {
    return graph::can_use(kernel, variant, *caps_, policy_);
  }
  /// VariantPolicy::choose.
  [[nodiscard]] size_t choose(std::string_view work, std::span<const std::string> ways) const {
    return policy_ == nullptr ? 0 : policy_->choose(work, ways);
  }
  /// Whether a kernel that others can stand in for may be used.
  [[nodiscard]] bool can_use(const KernelDesc& kernel) const {
    return find_variant(kernel, *caps_, policy_) != nullptr;
  }

  /// A new temporary tensor. Its contents before the first write are undefined.
  Tensor transient(std::string name, DType dtype, Shape shape);

  /// `n` numbers (u32) that are 0 when a replay begins. All nodes that ask for counters share them,
  /// and each leaves them at 0.
  Tensor counters(uint64_t n);

  /// Lets the temporary of this name live to the end, so that a test finds it in the scratch buffer
  /// after a replay. Returns its index. Aborts unless exactly one has the name.
  uint32_t keep(std::string_view name);

  /// Appends a dispatch. Aborts where the node does not fit its kernel's description.
  void add(Node node);

  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<Transient>& transients() const { return transients_; }

 private:
  const vk::Caps* caps_;         // Borrowed from Device.
  const VariantPolicy* policy_;  // Borrowed from the engine.
  std::vector<Node> nodes_;
  std::vector<Transient> transients_;
  std::optional<Tensor> counters_;
};

}  // namespace kimberlite::graph
