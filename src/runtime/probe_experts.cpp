// Mixture of experts: routing, the products of the chosen experts and their weighted sum, as one.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/experts.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::MatrixKind;

namespace {

constexpr uint32_t kExperts = 6;
constexpr uint32_t kUsed = 2;
constexpr uint64_t kRows = 2 * kernels::kPanelRows;  // of an expert
constexpr uint32_t kDecodeColumns = 8;
constexpr uint32_t kPrefillColumns = 16;

/// Numbers of the experts of one column, best first.
std::vector<uint32_t> best_experts(std::span<const float> scores) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  order.resize(kUsed);
  return order;
}

/// `products`: of every expert for every column, [n, kExperts * kRows].
reference::Expected combine(const reference::Expected& products, std::span<const float> scores,
                            std::span<const float> scale) {
  reference::Expected all;
  const size_t n = scores.size() / kExperts;
  for (size_t column = 0; column < n; ++column) {
    const auto own = scores.subspan(column * kExperts, kExperts);
    const std::vector<uint32_t> experts = best_experts(own);
    double total = 0;
    for (const uint32_t e : experts) total += std::exp(double{own[e]});
    for (uint64_t row = 0; row < kRows; ++row) {
      double value = 0, bound = 0;
      for (const uint32_t e : experts) {
        const double weight = std::exp(double{own[e]}) / total * scale[e];
        const size_t at = (column * kExperts + e) * kRows + row;
        value += weight * products.values[at];
        // A dozen roundings on the way to the weight, one for the product, one for the sum.
        bound +=
            std::abs(weight) * (products.bounds[at] + std::abs(products.values[at]) * 14 * 0x1p-24);
      }
      all.add(value, bound);
    }
  }
  return all;
}

}  // namespace

std::vector<ProbeCheck> expert_checks(ProbeMemory& memory, const vk::Caps& caps,
                                      const MatrixKind& kind) {
  const uint64_t width = probe_width(kind.type);
  const ProbeMatrix matrix = make_matrix(memory, caps, kind, kExperts * kRows, width, 31);
  const auto x = probe_activations(kPrefillColumns * width, 32);
  const auto scores = probe_values(kPrefillColumns * kExperts, 33, 3.0f);
  const auto scale = probe_values(kExperts, 34);
  const Tensor scale_tensor = memory.add(scale, Shape{kExperts});
  const auto make_pass = [&](uint32_t first, uint32_t n) {
    const Tensor in = memory.add(std::span(x).subspan(first * width, n * width), Shape{n, width});
    const Tensor routed =
        memory.add(std::span(scores).subspan(first * kExperts, n * kExperts), Shape{n, kExperts});
    const Tensor out = memory.add_output(DType::f32, Shape{n, kRows});
    const auto add = [=, w = matrix.packed](Graph& graph) {
      const kernels::ExpertRouting routing =
          kernels::add_expert_routing(graph, routed, scale_tensor, kUsed, "experts");
      const Tensor in_class = probe_operand(graph, in, w.linear_class);
      const Tensor y = graph.transient("y", DType::f32, Shape{n * kUsed, kRows});
      kernels::add_expert_product(graph, w, in_class, routing.tiles, y, "product");
      kernels::add_expert_sum(graph, y, routing, out, "sum");
    };
    return ProbePass{first, n, add, {{out, {}}}};
  };
  const auto make_check = [&](const graph::KernelDesc& kernel, uint32_t n) {
    const auto products = reference::linear(matrix.file, std::span(x).first(n * width));
    return ProbeCheck{fmt::format("experts {}", kernel.name),
                      &kernel,
                      kind,
                      n,
                      {},
                      {combine(products, std::span(scores).first(n * kExperts), scale)}};
  };
  std::vector<ProbeCheck> checks;
  checks.push_back(
      make_check(kernels::matvec_kernel(kind.type, kind.linear_class), kDecodeColumns));
  checks.back().passes = make_sweep(make_pass);
  checks.push_back(
      make_check(kernels::matmul_kernel(kind.type, kind.linear_class), kPrefillColumns));
  checks.back().passes = {make_pass(0, kPrefillColumns)};
  return checks;
}

}  // namespace kimberlite::runtime
