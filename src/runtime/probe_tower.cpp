// What an encoder of pictures needs.
#include <fmt/format.h>

#include "kernels/add_rows.hpp"
#include "kernels/patch_pool.hpp"
#include "kernels/rope_2d.hpp"
#include "kernels/tower_attention.hpp"
#include "kernels/tower_reference.hpp"
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
constexpr uint64_t kHeads = 3;
constexpr uint32_t kKeys = 71;  // no multiple of anything
constexpr uint64_t kPlaces = 64;
constexpr double kTheta = 100;

/// Heads that rotate, or values, which do not.
ProbeCheck rope_check(ProbeMemory& memory, uint32_t head_dim, bool rotates) {
  const uint64_t width = kHeads * head_dim;
  const auto x = probe_values(kColumns * width, 61, 2.0f);
  const auto weight = probe_values(head_dim, 62);
  std::vector<uint32_t> places;
  for (uint32_t i = 0; i < kColumns; ++i) places.insert(places.end(), {7 * i, 63 - 5 * i});
  const Tensor weight_tensor = memory.add(weight, Shape{head_dim});
  const Tensor table = memory.add(kernels::make_rope_2d_table(kPlaces, head_dim, kTheta),
                                  Shape{kPlaces, head_dim / 2});
  ProbeCheck check{fmt::format("rope_2d d{}{}", head_dim, rotates ? "" : " values"),
                   &kernels::kRope2d,
                   {},
                   kColumns,
                   {},
                   {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    kernels::Rope2d args{.x = memory.add(slice(x, width, first, n), Shape{n, width}),
                         .weight = weight_tensor};
    if (rotates) {
      args.places =
          memory.add(std::span<const uint32_t>(places).subspan(2 * first, 2 * n), Shape{n, 2});
      args.table = table;
    }
    const auto add = [=](Graph& graph) { kernels::add_rope_2d(graph, args, "rope_2d"); };
    return ProbePass{first, n, add, {{args.x, {}}}};
  });
  reference::Rope2dArgs args{.x = x, .weight = weight, .places = {}, .n_heads = kHeads};
  if (rotates) args.places = places;
  check.expected = {reference::rope_2d(args)};
  return check;
}

/// Queries are the columns.
ProbeCheck attention_check(ProbeMemory& memory, uint32_t head_dim) {
  const uint64_t width = kHeads * head_dim;
  const auto q = probe_values(kColumns * width, 63);
  const auto k = probe_values(kKeys * width, 64);
  const auto v = probe_values(kKeys * width, 65);
  const Tensor k_tensor = memory.add(k, Shape{kKeys, width});
  const Tensor v_tensor = memory.add(v, Shape{kKeys, width});
  ProbeCheck check{tower_check_name(head_dim), &kernels::kTowerAttention, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const kernels::TowerAttention args{.q = memory.add(slice(q, width, first, n), Shape{n, width}),
                                       .k = k_tensor,
                                       .v = v_tensor,
                                       .y = memory.add_output(DType::f32, Shape{n, width}),
                                       .head_dim = head_dim,
                                       .n_keys = kKeys};
    const auto add = [=](Graph& graph) {
      kernels::add_tower_attention(graph, args, "tower_attention");
    };
    return ProbePass{first, n, add, {{args.y, {}}}};
  });
  check.expected = {reference::tower_attention(
      {.q = q, .k = k, .v = v, .n_keys = kKeys, .n_heads = kHeads, .head_dim = head_dim})};
  return check;
}

/// All tokens of a picture at once: they are no columns.
ProbeCheck pool_check(ProbeMemory& memory, bool standardises) {
  constexpr uint64_t kWidth = 144;
  constexpr uint32_t kX = 4;
  const auto x = probe_values(kColumns * 9 * kWidth, 66);
  const auto bias = probe_values(kWidth, 67);
  const auto factor = probe_values(kWidth, 68);
  kernels::PatchPool args{.x = memory.add(x, Shape{kColumns * 9, kWidth}),
                          .y = memory.add_output(DType::f32, Shape{kColumns, kWidth}),
                          .n_x = kX,
                          .scale = 12};
  reference::PatchPoolArgs expected{.x = x, .width = kWidth, .n_x = kX, .scale = 12};
  if (standardises) {
    args.bias = memory.add(bias, Shape{kWidth});
    args.factor = memory.add(factor, Shape{kWidth});
    expected.bias = bias;
    expected.factor = factor;
  }
  const auto add = [=](Graph& graph) { kernels::add_patch_pool(graph, args, "patch_pool"); };
  ProbeCheck check{standardises ? "patch_pool standardised" : "patch_pool",
                   &kernels::kPatchPool,
                   {},
                   kColumns,
                   {},
                   {}};
  check.passes = {ProbePass{0, kColumns, add, {{args.y, {}}}}};
  check.expected = {reference::patch_pool(expected)};
  return check;
}

ProbeCheck add_rows_check(ProbeMemory& memory) {
  constexpr uint64_t kWidth = 1056;
  const auto x = probe_values(kColumns * kWidth, 69);
  const auto a = probe_values(kColumns * kWidth, 70);
  const auto b = probe_values(kColumns * kWidth, 71);
  ProbeCheck check{"add_rows", &kernels::kAddRows, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const auto rows = [&](const std::vector<float>& all) {
      return memory.add(slice(all, kWidth, first, n), Shape{n, kWidth});
    };
    const Tensor sum = rows(x), first_term = rows(a), second_term = rows(b);
    const auto add = [=](Graph& graph) {
      kernels::add_add_rows(graph, first_term, second_term, sum, "add_rows");
    };
    return ProbePass{first, n, add, {{sum, {}}}};
  });
  reference::Expected sums;
  for (size_t i = 0; i < x.size(); ++i) {
    const float added = a[i] + b[i];
    sums.add(x[i] + added, 0);
  }
  check.expected = {sums};
  return check;
}

}  // namespace

std::string tower_check_name(uint32_t head_dim) {
  return fmt::format("tower_attention d{}", head_dim);
}

std::vector<ProbeCheck> tower_checks(ProbeMemory& memory, uint32_t head_dim) {
  std::vector<ProbeCheck> checks;
  checks.push_back(attention_check(memory, head_dim));
  for (const bool full : {false, true}) {
    checks.push_back(rope_check(memory, head_dim, full));
    checks.push_back(pool_check(memory, full));
  }
  checks.push_back(add_rows_check(memory));
  return checks;
}

}  // namespace kimberlite::runtime
