#include "kernels/mac_rate.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/mac_rate.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

bool has_dot(const vk::Caps& caps) { return caps.has_int8_dot; }
// CPU drivers have them, but no product in them.
bool has_matrix(const vk::Caps& caps) { return caps.int8_matrix.m != 0 && !caps.is_cpu; }

constexpr uint32_t kWorkgroup = 64;  // what every device schedules well, many of them at a time
constexpr std::array kBindings{BindingDesc{"operands"}, BindingDesc{"y", Access::write}};
constexpr std::array kFloatVariants{Variant{"portable", "mac_rate"}};
constexpr std::array kDotVariants{Variant{"matrix", "mac_rate_matrix", has_matrix},
                                  Variant{"dot", "mac_rate_int8_dot", has_dot},
                                  Variant{"portable", "mac_rate_int8"}};
constexpr std::array kPairsVariants{Variant{"portable", "mac_rate_pairs"}};

}  // namespace

const graph::KernelDesc kMacRate{"mac_rate", kBindings, sizeof(shaders::MacRatePush),
                                 kFloatVariants};
const graph::KernelDesc kMacRateDot{"mac_rate_int8", kBindings, sizeof(shaders::MacRatePush),
                                    kDotVariants};
const graph::KernelDesc kMacRatePairs{"mac_rate_pairs", kBindings, sizeof(shaders::MacRatePush),
                                      kPairsVariants};

const graph::KernelDesc& mac_rate_kernel(LinearClass linear_class) {
  switch (linear_class) {
    case LinearClass::int8_dot:
      return kMacRateDot;
    case LinearClass::int8_swar:
      return kMacRatePairs;
    case LinearClass::f32:
      break;
  }
  return kMacRate;
}

void add_mac_rate(graph::Graph& graph, LinearClass linear_class, const Tensor& operands,
                  const Tensor& y, uint32_t n_rounds, std::string label) {
  KL_CHECK(operands.dtype == DType::u32 && operands.shape == (Shape{2}), "operands are u32 [2]");
  KL_CHECK(y.dtype == DType::u32 && y.shape.rank() == 1, "y is u32 [n]");
  const uint64_t n = y.shape[0];
  const vk::Caps& caps = graph.caps();
  const uint32_t workgroup = std::max(kWorkgroup, caps.subgroup_size);
  KL_CHECK(n % workgroup == 0 && n / workgroup <= caps.max_grid_x,
           "whole workgroups, as many as a grid holds");
  KL_CHECK(n_rounds < caps.max_loop_rounds, "more rounds than the driver counts");
  const graph::KernelDesc& kernel = mac_rate_kernel(linear_class);

  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = std::move(label);
  node.tensors = {operands, y};
  node.constants = {workgroup};
  if (node.variant->name == "matrix") {
    const auto& [m, columns, k] = caps.int8_matrix;
    node.constants = {workgroup, m, columns, k};
    node.subgroup_size = caps.matrix_subgroup_size;
  }
  node.set_push(shaders::MacRatePush{n_rounds});
  node.grid = {static_cast<uint32_t>(n / workgroup), 1, 1};
  node.bytes_touched = operands.n_bytes + y.n_bytes;
  graph.add(std::move(node));
}

uint64_t macs_per_step(LinearClass linear_class, const vk::Caps& caps) {
  switch (linear_class) {
    case LinearClass::int8_dot:
      if (!has_matrix(caps)) return 4;
      return uint64_t{caps.int8_matrix.m} * caps.int8_matrix.n * caps.int8_matrix.k /
             caps.matrix_subgroup_size;
    case LinearClass::int8_swar:
      return 2;
    case LinearClass::f32:
      break;
  }
  return 1;
}

uint64_t count_macs(LinearClass linear_class, const vk::Caps& caps, uint64_t n, uint32_t n_rounds) {
  return n * n_rounds * shaders::kMacUnrolled * shaders::kMacChains *
         macs_per_step(linear_class, caps);
}

}  // namespace kimberlite::kernels
