// Mixture of experts: routing and the products of the chosen experts, as one.
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

/// Rows and weights of the slots of every column. `products`: of every expert for every column, [n,
/// kExperts * n_rows].
struct ExpectedSlots {
  reference::Expected rows;
  reference::Expected weights;
};
ExpectedSlots pick_slots(const reference::Expected& products, uint64_t n_rows,
                         std::span<const float> scores, std::span<const float> scale) {
  ExpectedSlots slots;
  for (size_t column = 0; column < scores.size() / kExperts; ++column) {
    const auto own = scores.subspan(column * kExperts, kExperts);
    const std::vector<uint32_t> experts = best_experts(own);
    double total = 0;
    for (const uint32_t e : experts) total += std::exp(double{own[e]});
    for (const uint32_t e : experts) {
      const double weight = std::exp(double{own[e]}) / total * scale[e];
      slots.weights.add(weight, std::abs(weight) * 14 * 0x1p-24);  // a dozen roundings
      for (uint64_t row = 0; row < n_rows; ++row) {
        const size_t at = (column * kExperts + e) * n_rows + row;
        slots.rows.add(products.values[at], products.bounds[at]);
      }
    }
  }
  return slots;
}

}  // namespace

std::vector<ProbeCheck> expert_checks(ProbeMemory& memory, const vk::Caps& caps,
                                      const MatrixKind& kind, bool gated) {
  const uint64_t width = probe_width(kind.type);
  const uint64_t y_width = gated ? kRows / 2 : kRows;
  ProbeMatrix matrix = make_matrix(memory, caps, kind, kExperts * kRows, width, 31);
  matrix.packed.gated = gated;
  const auto x = probe_activations(kPrefillColumns * width, 32);
  const auto scores = probe_values(kPrefillColumns * kExperts, 33, 3.0f);
  const auto scale = probe_values(kExperts, 34);
  const Tensor scale_tensor = memory.add(scale, Shape{kExperts});
  const auto make_pass = [&](uint32_t first, uint32_t n) {
    const Tensor in = memory.add(slice(x, width, first, n), Shape{n, width});
    const Tensor routed = memory.add(slice(scores, kExperts, first, n), Shape{n, kExperts});
    const uint64_t n_slots = uint64_t{n} * kUsed;
    kernels::ActivationRows y = memory.add_output(DType::f32, Shape{n_slots, y_width});
    if (gated) y = add_rows(memory, caps, n_slots, y_width);
    const Tensor weights = memory.add_output(DType::f32, Shape{n_slots});
    const auto add = [=, w = matrix.packed](Graph& graph) {
      const kernels::ExpertRouting routing = kernels::add_expert_routing(
          graph, routed, scale_tensor, {kUsed, {&w}}, weights, "experts");
      const Tensor in_class = probe_operand(graph, in, w.linear_class);
      kernels::add_expert_product(graph, w, kRows, in_class, routing.tiles, y, "product");
    };
    std::vector<ProbeOutput> outputs = row_outputs(y);
    outputs.push_back({weights, {}});
    return ProbePass{first, n, add, std::move(outputs)};
  };
  const auto make_check = [&](const graph::KernelDesc& kernel, uint32_t n) {
    reference::Expected products = reference::linear(matrix.file, std::span(x).first(n * width));
    if (gated) products = gate_products(products);
    const ExpectedSlots slots =
        pick_slots(products, y_width, std::span(scores).first(n * kExperts), scale);
    std::vector<reference::Expected> expected{slots.rows};
    if (gated) expected = expect_rows(caps, slots.rows, y_width);
    expected.push_back(slots.weights);
    return ProbeCheck{fmt::format("{}experts {}{}", gated ? "gated " : "", kernel.name,
                                  n == kPrefillColumns ? " in tiles" : ""),
                      &kernel,
                      kind,
                      n,
                      {},
                      std::move(expected)};
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
