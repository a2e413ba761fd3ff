// What pictures and sounds need besides the kernels of text.
#include <algorithm>

#include "kernels/clip.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/soft_rows.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"
#include "shaders/soft_rows.h"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

namespace {

constexpr uint32_t kColumns = 8;
constexpr uint64_t kWidth = 1056;
constexpr float kEps = 1e-5f;

/// Rows with a mean far from zero. Places in the picture are added: the longest of the forms.
ProbeCheck layer_norm_check(ProbeMemory& memory) {
  auto x = probe_values(kColumns * kWidth, 51, 0.3f);
  for (float& value : x) value += 0.6f;
  const auto a = probe_values(kColumns * kWidth, 52);
  const auto b = probe_values(kColumns * kWidth, 53);
  const auto weight = probe_values(kWidth, 54);
  const auto bias = probe_values(kWidth, 55);
  const Tensor weight_tensor = memory.add(weight, Shape{kWidth});
  const Tensor bias_tensor = memory.add(bias, Shape{kWidth});
  ProbeCheck check{"layer_norm", &kernels::kLayerNorm, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const auto rows = [&](const std::vector<float>& all) {
      return memory.add(slice(all, kWidth, first, n), Shape{n, kWidth});
    };
    const kernels::LayerNorm args{.x = rows(x),
                                  .a = rows(a),
                                  .b = rows(b),
                                  .weight = weight_tensor,
                                  .bias = bias_tensor,
                                  .y = memory.add_output(DType::f32, Shape{n, kWidth}),
                                  .eps = kEps};
    const auto add = [=](Graph& graph) { kernels::add_layer_norm(graph, args, "layer_norm"); };
    return ProbePass{first, n, add, {{args.y, {}}}};
  });
  check.expected = {reference::layer_norm({x, {}, a, b, weight, bias, kEps})};
  return check;
}

/// Every column has a source, in the reverse order.
ProbeCheck soft_rows_check(ProbeMemory& memory) {
  const auto soft = probe_values(kColumns * kWidth, 56);
  const Tensor soft_tensor = memory.add(soft, Shape{kColumns, kWidth});
  ProbeCheck check{"soft_rows", &kernels::kSoftRows, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    std::vector<uint32_t> sources;
    for (uint32_t i = first; i < first + n; ++i) sources.push_back(kColumns - 1 - i);
    const Tensor source_tensor = memory.add(sources, Shape{n, 1});
    const Tensor x = memory.add_output(DType::f32, Shape{n, kWidth});
    const auto add = [=](Graph& graph) {
      kernels::add_soft_rows(graph, soft_tensor, source_tensor, x, "soft_rows");
    };
    return ProbePass{first, n, add, {{x, {}}}};
  });
  reference::Expected rows;
  for (uint32_t column = 0; column < kColumns; ++column) {
    for (const float value : slice(soft, kWidth, kColumns - 1 - column, 1)) rows.add(value, 0);
  }
  check.expected = {rows};
  return check;
}

/// Some values are below, some above, some between.
ProbeCheck clip_check(ProbeMemory& memory) {
  constexpr kernels::Bounds kBounds{-0.5f, 0.25f};
  const auto x = probe_values(kColumns * kWidth, 57);
  ProbeCheck check{"clip", &kernels::kClip, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Tensor rows = memory.add(slice(x, kWidth, first, n), Shape{n, kWidth});
    const Tensor y = memory.add_output(DType::f32, Shape{n, kWidth});
    const auto add = [=](Graph& graph) { kernels::add_clip(graph, rows, y, kBounds, "clip"); };
    return ProbePass{first, n, add, {{y, {}}}};
  });
  reference::Expected clipped;
  for (const float value : x) clipped.add(std::clamp(value, kBounds.low, kBounds.high), 0);
  check.expected = {clipped};
  return check;
}

}  // namespace

std::vector<ProbeCheck> media_checks(ProbeMemory& memory) {
  std::vector<ProbeCheck> checks;
  checks.push_back(layer_norm_check(memory));
  checks.push_back(soft_rows_check(memory));
  checks.push_back(clip_check(memory));
  return checks;
}

}  // namespace kimberlite::runtime
