// What an encoder of sounds needs.
#include "kernels/conformer_reference.hpp"
#include "kernels/conv2d.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/light_conv.hpp"
#include "kernels/local_attention.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/silu.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

namespace {

constexpr uint32_t kColumns = 8;
constexpr uint64_t kWidth = 1056;
constexpr float kEps = 1e-6f;

/// A whole sound at once, whose rows are no columns: a row looks at others.
ProbeCheck whole(std::string name, const graph::KernelDesc& kernel, std::function<void(Graph&)> add,
                 const Tensor& y, reference::Expected expected) {
  ProbeCheck check{std::move(name), &kernel, {}, kColumns, {}, {}};
  check.passes = {ProbePass{0, kColumns, std::move(add), {{y, {}}}}};
  check.expected = {std::move(expected)};
  return check;
}

/// Frames behind the last one that counts are there and must not be seen.
ProbeCheck conv2d_check(ProbeMemory& memory) {
  constexpr uint64_t kIn = 12, kBins = 8, kOut = 36;
  constexpr uint32_t kFrames = 2 * kColumns - 3;
  const auto x = probe_values(2 * kColumns * kBins * kIn, 81);
  const auto taps = probe_values(9 * kIn * kOut, 82);
  const auto weight = probe_values(kOut, 83);
  const std::vector<uint32_t> sizes{kFrames};
  const kernels::Conv2d args{.x = memory.add(x, Shape{2 * kColumns, kBins, kIn}),
                             .sizes = memory.add(sizes, Shape{1}),
                             .size_index = 0,
                             .taps = memory.add(taps, Shape{9, kIn, kOut}),
                             .weight = memory.add(weight, Shape{kOut}),
                             .y = memory.add_output(DType::f32, Shape{kColumns, kBins / 2, kOut}),
                             .eps = kEps};
  return whole(
      kConformerCheck, kernels::kConv2d,
      [=](Graph& graph) { kernels::add_conv2d(graph, args, "conv2d"); }, args.y,
      reference::conv2d({x, kFrames, kBins, taps, weight, kColumns, kEps}));
}

ProbeCheck silu_check(ProbeMemory& memory) {
  const auto x = probe_values(kColumns * kWidth, 84, 4.0f);
  ProbeCheck check{"silu", &kernels::kSilu, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Tensor rows = memory.add(slice(x, kWidth, first, n), Shape{n, kWidth});
    const Tensor y = memory.add_output(DType::f32, Shape{n, kWidth});
    const auto add = [=](Graph& graph) { kernels::add_silu(graph, rows, y, "silu"); };
    return ProbePass{first, n, add, {{y, {}}}};
  });
  check.expected = {reference::silu(x)};
  return check;
}

/// More rows than one sees.
ProbeCheck local_attention_check(ProbeMemory& memory) {
  constexpr uint64_t kHeads = 2, kDim = 36, kRows = 2 * kColumns;
  constexpr uint64_t kRow = kHeads * kDim;
  const auto q = probe_values(kRows * kRow, 85);
  const auto k = probe_values(kRows * kRow, 86);
  const auto v = probe_values(kRows * kRow, 87);
  const auto relative = probe_values(shaders::kLocalWindow * kRow, 88);
  const auto scale = probe_values(kDim, 89, 4.0f);
  const Shape shape{kRows, kRow};
  const kernels::LocalAttention args{
      .q = memory.add(q, shape),
      .k = memory.add(k, shape),
      .v = memory.add(v, shape),
      .relative = memory.add(relative, Shape{shaders::kLocalWindow, kRow}),
      .scale = memory.add(scale, Shape{kDim}),
      .out = memory.add_output(DType::f32, shape),
      .k_scale = 1.9f,
      .cap = 50.0f};
  return whole(
      "local_attention", kernels::kLocalAttention,
      [=](Graph& graph) { kernels::add_local_attention(graph, args, "local_attention"); }, args.out,
      reference::local_attention({q, k, v, relative, scale, kHeads, args.k_scale, args.cap}));
}

ProbeCheck light_conv_check(ProbeMemory& memory) {
  const auto x = probe_values(kColumns * 2 * kWidth, 90);
  const auto taps = probe_values(shaders::kLightTaps * kWidth, 91);
  const auto weight = probe_values(kWidth, 92);
  const kernels::LightConv args{.x = memory.add(x, Shape{kColumns, 2 * kWidth}),
                                .taps = memory.add(taps, Shape{shaders::kLightTaps, kWidth}),
                                .weight = memory.add(weight, Shape{kWidth}),
                                .y = memory.add_output(DType::f32, Shape{kColumns, kWidth}),
                                .eps = kEps};
  return whole(
      "light_conv", kernels::kLightConv,
      [=](Graph& graph) { kernels::add_light_conv(graph, args, "light_conv"); }, args.y,
      reference::light_conv(x, taps, weight, kEps));
}

ProbeCheck plain_seam_check(ProbeMemory& memory) {
  const auto x = probe_values(kColumns * kWidth, 93);
  const auto delta = probe_values(kColumns * kWidth, 94);
  const auto next = probe_values(kWidth, 95);
  const Tensor next_tensor = memory.add(next, Shape{kWidth});
  ProbeCheck check{"residual_plain", &kernels::kResidualPlain, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Shape shape{n, kWidth};
    const kernels::ResidualNorm args{.delta = memory.add(slice(delta, kWidth, first, n), shape),
                                     .x = memory.add(slice(x, kWidth, first, n), shape),
                                     .next = next_tensor,
                                     .y = memory.add_output(DType::f32, shape),
                                     .eps = kEps};
    const auto add = [=](Graph& graph) { kernels::add_residual_norm(graph, args, "seam"); };
    return ProbePass{first, n, add, {{args.x, {}}, {args.y.f32, {}}}};
  });
  auto expected =
      reference::residual_norm({.delta = delta, .post = {}, .x = x, .next = next, .eps = kEps});
  check.expected = {std::move(expected.x), std::move(expected.y)};
  return check;
}

/// The norm without a mean, of what has a bias.
ProbeCheck biased_norm_check(ProbeMemory& memory) {
  const auto x = probe_values(kColumns * kWidth, 96);
  const auto shift = probe_values(kWidth, 97);
  const auto weight = probe_values(kWidth, 98);
  const Tensor shift_tensor = memory.add(shift, Shape{kWidth});
  const Tensor weight_tensor = memory.add(weight, Shape{kWidth});
  ProbeCheck check{"rms of a sum", &kernels::kLayerNorm, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const kernels::LayerNorm args{.x = memory.add(slice(x, kWidth, first, n), Shape{n, kWidth}),
                                  .shift = shift_tensor,
                                  .weight = weight_tensor,
                                  .y = memory.add_output(DType::f32, Shape{n, kWidth}),
                                  .eps = kEps};
    const auto add = [=](Graph& graph) { kernels::add_layer_norm(graph, args, "norm"); };
    return ProbePass{first, n, add, {{args.y, {}}}};
  });
  check.expected = {reference::layer_norm({x, shift, {}, {}, weight, {}, kEps})};
  return check;
}

}  // namespace

std::vector<ProbeCheck> conformer_checks(ProbeMemory& memory) {
  std::vector<ProbeCheck> checks;
  checks.push_back(conv2d_check(memory));
  checks.push_back(silu_check(memory));
  checks.push_back(local_attention_check(memory));
  checks.push_back(light_conv_check(memory));
  checks.push_back(plain_seam_check(memory));
  checks.push_back(biased_norm_check(memory));
  return checks;
}

}  // namespace kimberlite::runtime
