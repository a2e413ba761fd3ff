// Norms, activation and the seams around experts: kernels that write rows of activations, in every
// form that the device has.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/expert_seam.hpp"
#include "kernels/geglu.hpp"
#include "kernels/rms_norm.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::ActivationRows;
using kernels::LinearClass;

namespace {

constexpr uint32_t kColumns = 8;
constexpr uint64_t kWidth = 1056;
constexpr float kEps = 1e-6f;
constexpr float kScale = 0.53f;

LinearClass int8_class(const vk::Caps& caps) {
  return caps.is_cpu ? LinearClass::int8_swar : LinearClass::int8_dot;
}

/// The rows that all checks of a seam start from.
struct SeamInputs {
  explicit SeamInputs(ProbeMemory& memory)
      : delta(probe_values(kColumns * kWidth, 3, 0.7f)),
        x(probe_values(kColumns * kWidth, 4, 3.0f)),
        post(probe_values(kWidth, 5)),
        next(probe_values(kWidth, 6)),
        post_tensor(memory.add(post, Shape{kWidth})),
        next_tensor(memory.add(next, Shape{kWidth})) {}

  [[nodiscard]] reference::ResidualNormArgs args(std::span<const float> norm) const {
    return {delta, post, x, norm, kScale, kEps};
  }
  [[nodiscard]] kernels::ResidualNorm node(ProbeMemory& memory, uint32_t first, uint32_t n) const {
    const Shape shape{n, kWidth};
    return {.delta = memory.add(slice(delta, kWidth, first, n), shape),
            .post = post_tensor,
            .x = memory.add(slice(x, kWidth, first, n), shape),
            .next = next_tensor,
            .scale = kScale,
            .eps = kEps};
  }

  std::vector<float> delta, x, post, next;
  Tensor post_tensor, next_tensor;
};

void append(std::vector<ProbeOutput>& all, const ActivationRows& rows) {
  for (ProbeOutput& output : row_outputs(rows)) all.push_back(std::move(output));
}
void append(std::vector<reference::Expected>& all, const vk::Caps& caps, reference::Expected rows) {
  for (reference::Expected& form : expect_rows(caps, std::move(rows), kWidth)) {
    all.push_back(std::move(form));
  }
}

ProbeCheck norm_check(ProbeMemory& memory, const vk::Caps& caps) {
  const auto x = probe_values(kColumns * kWidth, 1, 3.0f);
  const auto weight = probe_values(kWidth, 2);
  const Tensor weight_tensor = memory.add(weight, Shape{kWidth});
  ProbeCheck check{"rms_norm", &kernels::kRmsNorm, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Tensor in = memory.add(slice(x, kWidth, first, n), Shape{n, kWidth});
    const ActivationRows y = add_rows(memory, caps, n, kWidth);
    const auto add = [=](Graph& graph) {
      kernels::add_rms_norm(graph, in, weight_tensor, y, kEps, "rms_norm");
    };
    return ProbePass{first, n, add, row_outputs(y)};
  });
  check.expected = expect_rows(caps, reference::rms_norm(x, weight, kEps), kWidth);
  return check;
}

/// `norms`: with the norm of what follows, else the addition alone.
ProbeCheck residual_norm_check(ProbeMemory& memory, const vk::Caps& caps, bool norms) {
  const SeamInputs inputs(memory);
  const graph::KernelDesc& kernel = norms ? kernels::kResidualNorm : kernels::kResidualAdd;
  ProbeCheck check{std::string(kernel.name), &kernel, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    kernels::ResidualNorm node = inputs.node(memory, first, n);
    node.y = add_rows(memory, caps, n, kWidth);
    if (!norms) node.next = node.y.f32 = {};
    std::vector<ProbeOutput> outputs{{node.x, {}}};
    append(outputs, node.y);
    const auto add = [=](Graph& graph) { kernels::add_residual_norm(graph, node, "seam"); };
    return ProbePass{first, n, add, std::move(outputs)};
  });
  const reference::ResidualNormResult result = reference::residual_norm(inputs.args(inputs.next));
  if (norms) {
    check.expected = {result.x};
    append(check.expected, caps, result.y);
  } else {
    check.expected = expect_rows(caps, result.x, kWidth);  // x itself is what is rounded
  }
  return check;
}

ProbeCheck geglu_check(ProbeMemory& memory, const vk::Caps& caps) {
  const auto gate = probe_values(kColumns * kWidth, 7, 12.0f);
  const auto up = probe_values(kColumns * kWidth, 8);
  ProbeCheck check{"geglu", &kernels::kGeglu, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Shape shape{n, kWidth};
    const Tensor a = memory.add(slice(gate, kWidth, first, n), shape);
    const Tensor b = memory.add(slice(up, kWidth, first, n), shape);
    const ActivationRows out = add_rows(memory, caps, n, kWidth);
    const auto add = [=](Graph& graph) { kernels::add_geglu(graph, a, b, out, kWidth, "geglu"); };
    return ProbePass{first, n, add, row_outputs(out)};
  });
  check.expected = expect_rows(caps, reference::geglu(gate, up), kWidth);
  return check;
}

ProbeCheck expert_inputs_check(ProbeMemory& memory, const vk::Caps& caps) {
  const SeamInputs inputs(memory);
  const auto router_norm = probe_values(kWidth, 41);
  const auto experts_norm = probe_values(kWidth, 42);
  const Tensor router_norm_tensor = memory.add(router_norm, Shape{kWidth});
  const Tensor experts_norm_tensor = memory.add(experts_norm, Shape{kWidth});
  const graph::KernelDesc& kernel = kernels::kExpertInputs;
  ProbeCheck check{std::string(kernel.name), &kernel, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    kernels::ResidualNorm node = inputs.node(memory, first, n);
    node.y = add_rows(memory, caps, n, kWidth);
    const kernels::ExpertInputs more{router_norm_tensor,
                                     memory.add_output(DType::f32, Shape{n, kWidth}),
                                     experts_norm_tensor, add_rows(memory, caps, n, kWidth)};
    std::vector<ProbeOutput> outputs{{node.x, {}}, {more.router_y, {}}};
    append(outputs, node.y);
    append(outputs, more.experts_y);
    const auto add = [=](Graph& graph) { kernels::add_expert_inputs(graph, node, more, "seam"); };
    return ProbePass{first, n, add, std::move(outputs)};
  });
  const reference::ResidualNormResult result = reference::residual_norm(inputs.args(inputs.next));
  check.expected = {result.x, reference::residual_norm(inputs.args(router_norm)).y};
  append(check.expected, caps, result.y);
  append(check.expected, caps, reference::residual_norm(inputs.args(experts_norm)).y);
  return check;
}

/// The weights of the experts that rows of a router's inputs take. Weights of the router are up
/// to 1.
reference::Expected route(const reference::Expected& rows, const reference::Matrix& router,
                          std::span<const float> scale, uint32_t n_used) {
  const std::vector<float> values(rows.values.begin(), rows.values.end());
  const reference::Expected scores = reference::linear(router, values);
  reference::Expected weights;
  for (size_t row = 0; row < values.size() / router.n_cols; ++row) {
    const size_t first = row * router.n_rows;
    const std::span<const double> own = std::span(scores.values).subspan(first, router.n_rows);
    std::vector<uint32_t> order(router.n_rows);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return own[a] > own[b]; });
    double error = 0;  // of a score: that of its product, and that of the row
    double total = 0;
    for (uint32_t j = 0; j < n_used; ++j) {
      error = std::max(error, scores.bounds[first + order[j]]);
      total += std::exp(own[order[j]] - own[order[0]]);
    }
    for (size_t k = 0; k < router.n_cols; ++k) error += rows.bounds[row * router.n_cols + k];
    for (uint32_t j = 0; j < n_used; ++j) {
      const double weight = std::exp(own[order[j]] - own[order[0]]) / total * scale[order[j]];
      weights.add(weight, std::abs(weight) * (2 * error + 14 * 0x1p-24));
    }
  }
  return weights;
}

ProbeCheck expert_seam_check(ProbeMemory& memory, const vk::Caps& caps) {
  constexpr uint64_t kExperts = 70;
  constexpr uint32_t kUsed = 3;
  const SeamInputs inputs(memory);
  const auto router_norm = probe_values(kWidth, 48, 0.1f);
  const auto experts_norm = probe_values(kWidth, 49);
  const auto scale = probe_values(kExperts, 50);
  const ProbeMatrix router =
      make_matrix(memory, caps, {formats::GgmlType::f32, LinearClass::f32}, kExperts, kWidth, 51);
  const Tensor router_norm_tensor = memory.add(router_norm, Shape{kWidth});
  const Tensor experts_norm_tensor = memory.add(experts_norm, Shape{kWidth});
  const Tensor scale_tensor = memory.add(scale, Shape{kExperts});
  const graph::KernelDesc& kernel = kernels::kExpertSeam;
  ProbeCheck check{std::string(kernel.name), &kernel, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    kernels::ResidualNorm node = inputs.node(memory, first, n);
    node.y = add_rows(memory, caps, n, kWidth);
    const ActivationRows experts_y = add_rows(memory, caps, n, kWidth);
    const Tensor weights = memory.add_output(DType::f32, Shape{uint64_t{n} * kUsed});
    std::vector<ProbeOutput> outputs{{node.x, {}}, {weights, {}}};
    append(outputs, node.y);
    append(outputs, experts_y);
    const auto add = [=, w = router.packed](Graph& graph) {
      kernels::add_expert_seam(graph, node, experts_norm_tensor, experts_y,
                               {router_norm_tensor, w, scale_tensor, {kUsed, {}}}, weights, "seam");
    };
    return ProbePass{first, n, add, std::move(outputs)};
  });
  const reference::ResidualNormResult result = reference::residual_norm(inputs.args(inputs.next));
  const reference::Expected router_in = reference::residual_norm(inputs.args(router_norm)).y;
  check.expected = {result.x, route(router_in, router.file, scale, kUsed)};
  append(check.expected, caps, result.y);
  append(check.expected, caps, reference::residual_norm(inputs.args(experts_norm)).y);
  return check;
}

ProbeCheck expert_sum_check(ProbeMemory& memory, const vk::Caps& caps) {
  constexpr uint32_t kUsed = 3;
  const SeamInputs inputs(memory);
  const auto mlp = probe_values(kColumns * kWidth, 43, 2.0f);
  const auto mlp_norm = probe_values(kWidth, 44);
  const auto outs = probe_values(kColumns * kUsed * kWidth, 45);
  const auto outs_norm = probe_values(kWidth, 46);
  const auto weights = probe_values(kColumns * kUsed, 47);
  const Tensor mlp_norm_tensor = memory.add(mlp_norm, Shape{kWidth});
  const Tensor outs_norm_tensor = memory.add(outs_norm, Shape{kWidth});
  const graph::KernelDesc& kernel = kernels::kExpertSum;
  ProbeCheck check{std::string(kernel.name), &kernel, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    kernels::ResidualNorm node = inputs.node(memory, first, n);
    node.y = add_rows(memory, caps, n, kWidth);
    const kernels::ExpertSum sum{
        memory.add(slice(mlp, kWidth, first, n), Shape{n, kWidth}), mlp_norm_tensor,
        memory.add(slice(outs, kUsed * kWidth, first, n), Shape{uint64_t{n} * kUsed, kWidth}),
        outs_norm_tensor, memory.add(slice(weights, kUsed, first, n), Shape{uint64_t{n} * kUsed})};
    std::vector<ProbeOutput> outputs{{node.x, {}}};
    append(outputs, node.y);
    const auto add = [=](Graph& graph) { kernels::add_expert_sum(graph, sum, node, "seam"); };
    return ProbePass{first, n, add, std::move(outputs)};
  });
  const reference::ResidualNormResult result =
      reference::expert_sum({mlp, mlp_norm, outs, outs_norm, weights}, inputs.args(inputs.next));
  check.expected = {result.x};
  append(check.expected, caps, result.y);
  return check;
}

}  // namespace

ActivationRows add_rows(ProbeMemory& memory, const vk::Caps& caps, uint64_t n, uint64_t width) {
  ActivationRows rows = memory.add_output(DType::f32, Shape{n, width});
  if (!kernels::can_round_rows(caps, width)) return rows;
  rows.rounding = int8_class(caps);
  rows.rounded =
      memory.add_output(DType::u32, Shape{n, kernels::quantized_width(rows.rounding, width)});
  return rows;
}

std::vector<ProbeOutput> row_outputs(const ActivationRows& rows) {
  std::vector<ProbeOutput> outputs;
  if (rows.f32.valid()) outputs.push_back({rows.f32, {}});
  if (!rows.rounded.valid()) return outputs;
  outputs.push_back({rows.rounded, [rows](ProbeMemory& memory) {
                       return reference::decode_rounded(memory.bytes(rows.rounded), rows.rounding);
                     }});
  return outputs;
}

std::vector<reference::Expected> expect_rows(const vk::Caps& caps, reference::Expected rows,
                                             uint64_t width) {
  std::vector<reference::Expected> all{rows};
  if (!kernels::can_round_rows(caps, width)) return all;
  for (size_t block = 0; block < rows.values.size(); block += 32) {
    double largest = 0;
    for (size_t i = block; i < block + 32; ++i) {
      largest = std::max(largest, std::abs(rows.values[i]) + rows.bounds[i]);
    }
    // Half a code; a few roundings of codes up to 127.
    for (size_t i = block; i < block + 32; ++i) {
      rows.bounds[i] += largest / 127 * (0.5 + 127 * 6 * 0x1p-24) + 1e-30;
    }
  }
  all.push_back(std::move(rows));
  return all;
}

std::vector<ProbeCheck> row_checks(ProbeMemory& memory, const vk::Caps& caps) {
  std::vector<ProbeCheck> checks;
  checks.push_back(norm_check(memory, caps));
  checks.push_back(residual_norm_check(memory, caps, /*norms=*/true));
  checks.push_back(residual_norm_check(memory, caps, /*norms=*/false));
  checks.push_back(geglu_check(memory, caps));
  return checks;
}

std::vector<ProbeCheck> expert_row_checks(ProbeMemory& memory, const vk::Caps& caps) {
  std::vector<ProbeCheck> checks;
  checks.push_back(expert_inputs_check(memory, caps));
  checks.push_back(expert_seam_check(memory, caps));
  checks.push_back(expert_sum_check(memory, caps));
  return checks;
}

}  // namespace kimberlite::runtime
