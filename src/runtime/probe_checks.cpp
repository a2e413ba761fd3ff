// Norms, activation, products and embedding. The others: probe_attention.cpp, probe_sampling.cpp.
#include "runtime/probe_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/numeric.hpp"
#include "kernels/embed.hpp"
#include "kernels/geglu.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/rms_norm.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearClass;
using kernels::MatrixKind;
using kernels::PackedMatrix;

namespace {

constexpr uint32_t kColumns = 8;

std::vector<float> read_output(const ProbeOutput& output, ProbeMemory& memory) {
  if (output.read) return output.read(memory);
  const std::span<const std::byte> bytes = memory.bytes(output.tensor);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// Keeps the deviation that exceeds its bound most; a wrong value says more than an unequal one.
class Worst {
 public:
  void meet(double error, double allowed, bool by_company) {
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    if (error <= allowed) return;
    const double ratio = error / std::max(allowed, 1e-30);
    if (found_) {
      if (by_company && !found_->by_company) return;
      if (by_company == found_->by_company && ratio <= ratio_) return;
    }
    ratio_ = ratio;
    found_ = ProbeDeviation{error, allowed, by_company};
  }
  [[nodiscard]] const std::optional<ProbeDeviation>& found() const { return found_; }

 private:
  std::optional<ProbeDeviation> found_;
  double ratio_ = 0;
};

std::span<const float> slice(const std::vector<float>& all, uint64_t width, uint32_t first,
                             uint32_t n) {
  return std::span(all).subspan(first * width, n * width);
}

ProbeCheck norm_check(ProbeMemory& memory) {
  constexpr uint64_t kWidth = 1028;
  constexpr float kEps = 1e-6f;
  const auto x = probe_values(kColumns * kWidth, 1, 3.0f);
  const auto weight = probe_values(kWidth, 2);
  const Tensor weight_tensor = memory.add(weight, Shape{kWidth});
  ProbeCheck check{"rms_norm", &kernels::kRmsNorm, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Tensor in = memory.add(slice(x, kWidth, first, n), Shape{n, kWidth});
    const Tensor y = memory.add_output(DType::f32, Shape{n, kWidth});
    const auto add = [=](Graph& graph) {
      kernels::add_rms_norm(graph, in, weight_tensor, y, kEps, "rms_norm");
    };
    return ProbePass{first, n, add, {{y, {}}}};
  });
  check.expected = {reference::rms_norm(x, weight, kEps)};
  return check;
}

/// `norms`: with the norm of what follows, else the addition alone.
ProbeCheck residual_norm_check(ProbeMemory& memory, bool norms) {
  constexpr uint64_t kWidth = 1028;
  const auto delta = probe_values(kColumns * kWidth, 3, 0.7f);
  const auto x = probe_values(kColumns * kWidth, 4, 3.0f);
  const auto post = probe_values(kWidth, 5);
  const auto next = probe_values(kWidth, 6);
  const reference::ResidualNormArgs args{delta, post, x, next, 0.53f, 1e-6f};
  const Tensor post_tensor = memory.add(post, Shape{kWidth});
  const Tensor next_tensor = memory.add(next, Shape{kWidth});
  const graph::KernelDesc& kernel = norms ? kernels::kResidualNorm : kernels::kResidualAdd;
  ProbeCheck check{std::string(kernel.name), &kernel, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Shape shape{n, kWidth};
    kernels::ResidualNorm node{.delta = memory.add(slice(delta, kWidth, first, n), shape),
                               .post = post_tensor,
                               .x = memory.add(slice(x, kWidth, first, n), shape),
                               .scale = args.scale,
                               .eps = args.eps};
    std::vector<ProbeOutput> outputs{{node.x, {}}};
    if (norms) {
      node.next = next_tensor;
      node.y = memory.add_output(DType::f32, shape);
      outputs.push_back({node.y, {}});
    }
    const auto add = [=](Graph& graph) { kernels::add_residual_norm(graph, node, "seam"); };
    return ProbePass{first, n, add, std::move(outputs)};
  });
  reference::ResidualNormResult result = reference::residual_norm(args);
  check.expected = {std::move(result.x)};
  if (norms) check.expected.push_back(std::move(result.y));
  return check;
}

ProbeCheck geglu_check(ProbeMemory& memory) {
  constexpr uint64_t kWidth = 263;
  const auto gate = probe_values(kColumns * kWidth, 7, 12.0f);
  const auto up = probe_values(kColumns * kWidth, 8);
  ProbeCheck check{"geglu", &kernels::kGeglu, {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Shape shape{n, kWidth};
    const Tensor a = memory.add(slice(gate, kWidth, first, n), shape);
    const Tensor b = memory.add(slice(up, kWidth, first, n), shape);
    const Tensor out = memory.add_output(DType::f32, shape);
    const auto add = [=](Graph& graph) { kernels::add_geglu(graph, a, b, out, "geglu"); };
    return ProbePass{first, n, add, {{out, {}}}};
  });
  check.expected = {reference::geglu(gate, up)};
  return check;
}

}  // namespace

ProbeMatrix make_matrix(ProbeMemory& memory, const vk::Caps& caps, const MatrixKind& kind,
                        uint64_t n_rows, uint64_t n_cols, uint32_t seed) {
  ProbeMatrix matrix;
  matrix.rows = probe_rows(kind.type, n_rows, n_cols, seed);
  matrix.file = {kind, n_rows, n_cols, matrix.rows};
  const kernels::PackedLayout layout =
      kernels::plan_packed(kind.type, n_rows, n_cols, caps, kind.linear_class);
  KL_CHECK(layout.shards.size() == 1, "a small matrix in one piece");
  std::vector<std::byte> codes(layout.shards[0].codes_bytes);
  std::vector<std::byte> scales(layout.shards[0].scales_bytes);
  kernels::pack_rows(layout, n_rows, matrix.rows, codes, scales);
  const auto upload = [&](const std::vector<std::byte>& bytes) {
    if (bytes.empty()) return Tensor{};
    return memory.add(bytes.data(), bytes.size(), DType::wide, Shape{bytes.size() / 16});
  };
  matrix.packed = {kind.type, kind.linear_class, n_rows, n_cols, layout.n_steps, {}};
  matrix.packed.shards.push_back({0, n_rows, upload(codes), {}});
  matrix.packed.shards[0].scales = upload(scales);
  return matrix;
}

uint64_t probe_width(GgmlType type) {
  const uint64_t block = formats::traits(type).block_elems;
  return block > 32 ? 3 * block : 9 * 32;
}

Tensor probe_operand(Graph& graph, const Tensor& x, LinearClass linear_class) {
  return linear_class == LinearClass::f32 ? x
                                          : kernels::add_quant_act(graph, x, linear_class, "x_q");
}

std::vector<ProbePass> make_sweep(
    const std::function<ProbePass(uint32_t first, uint32_t n)>& make) {
  std::vector<ProbePass> passes;
  for (uint32_t column = 0; column < kColumns; ++column) passes.push_back(make(column, 1));
  for (uint32_t n = 2; n <= kColumns; ++n) passes.push_back(make(0, n));
  return passes;
}

std::optional<ProbeDeviation> find_deviation(const ProbeCheck& check, ProbeMemory& memory) {
  Worst worst;
  for (size_t i = 0; i < check.expected.size(); ++i) {
    const reference::Expected& expected = check.expected[i];
    const size_t width = expected.values.size() / check.n_columns;
    std::vector<float> alone(expected.values.size());
    std::vector<bool> has_alone(check.n_columns);
    for (const ProbePass& pass : check.passes) {
      const std::vector<float> values = read_output(pass.outputs[i], memory);
      KL_CHECK(values.size() == pass.n * width, "an output of another width than expected");
      if (pass.n == 1) {
        std::copy(values.begin(), values.end(),
                  alone.begin() + static_cast<std::ptrdiff_t>(pass.first * width));
        has_alone[pass.first] = true;
      }
      for (size_t j = 0; j < values.size(); ++j) {
        const size_t at = pass.first * width + j;
        worst.meet(std::abs(values[j] - expected.values[at]), expected.bounds[at], false);
        const bool comparable = has_alone[at / width];
        if (!comparable || std::bit_cast<uint32_t>(values[j]) == std::bit_cast<uint32_t>(alone[at]))
          continue;
        worst.meet(std::abs(double{values[j]} - alone[at]), 0, true);
      }
    }
  }
  return worst.found();
}

std::vector<ProbeCheck> row_checks(ProbeMemory& memory) {
  std::vector<ProbeCheck> checks;
  checks.push_back(norm_check(memory));
  checks.push_back(residual_norm_check(memory, /*norms=*/true));
  checks.push_back(residual_norm_check(memory, /*norms=*/false));
  checks.push_back(geglu_check(memory));
  return checks;
}

std::vector<ProbeCheck> matrix_checks(ProbeMemory& memory, const vk::Caps& caps,
                                      const MatrixKind& kind) {
  // As many panels as the widest workgroup takes, and a rest: the pipelines of large matrices.
  constexpr uint64_t kRows = 64 * kernels::kPanelRows + 6;
  const uint64_t width = probe_width(kind.type);
  const ProbeMatrix matrix = make_matrix(memory, caps, kind, kRows, width, 9);
  const auto x = probe_activations(kColumns * width, 10);
  const auto expected = reference::linear(matrix.file, x);
  const PackedMatrix& w = matrix.packed;
  const auto make_pass = [&](uint32_t first, uint32_t n, bool many) {
    const Tensor in = memory.add(slice(x, width, first, n), Shape{n, width});
    const Tensor y = memory.add_output(DType::f32, Shape{n, kRows});
    const auto add = [=](Graph& graph) {
      const Tensor in_class = probe_operand(graph, in, w.linear_class);
      if (many) kernels::add_matmul(graph, w, in_class, y, "matmul");
      if (!many) kernels::add_matvec(graph, w, in_class, y, "matvec");
    };
    return ProbePass{first, n, add, {{y, {}}}};
  };
  std::vector<ProbeCheck> checks;
  const graph::KernelDesc& matvec = kernels::matvec_kernel(kind.type, kind.linear_class);
  checks.push_back({std::string(matvec.name), &matvec, kind, kColumns, {}, {expected}});
  checks.back().passes =
      make_sweep([&](uint32_t first, uint32_t n) { return make_pass(first, n, false); });
  const graph::KernelDesc& matmul = kernels::matmul_kernel(kind.type, kind.linear_class);
  checks.push_back({std::string(matmul.name), &matmul, kind, kColumns, {}, {expected}});
  checks.back().passes = {make_pass(0, kColumns, true)};
  return checks;
}

ProbeCheck embed_check(ProbeMemory& memory, const vk::Caps& caps, const MatrixKind& kind) {
  constexpr uint64_t kVocab = 64 + 11;
  constexpr float kScale = 61.967733f;
  const uint64_t width = probe_width(kind.type);
  const ProbeMatrix table = make_matrix(memory, caps, kind, kVocab, width, 11);
  const std::vector<uint32_t> tokens{0, 1, 8, 63, 64, 40, kVocab - 1, 5};
  const graph::KernelDesc& kernel = kernels::embed_kernel(kind.type, kind.linear_class);
  ProbeCheck check{std::string(kernel.name), &kernel, kind, kColumns, {}, {}};
  const PackedMatrix& packed = table.packed;
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    std::vector<uint32_t> columns;
    for (uint32_t i = first; i < first + n; ++i) {
      columns.insert(columns.end(), {tokens[i], i, 0, 1});
    }
    const Tensor column_tensor = memory.add(columns, Shape{n, 4});
    const Tensor y = memory.add_output(DType::f32, Shape{n, width});
    const auto add = [=](Graph& graph) {
      kernels::add_embed(graph, packed, column_tensor, y, kScale, "embed");
    };
    return ProbePass{first, n, add, {{y, {}}}};
  });
  check.expected = {reference::embed(table.file, tokens, kScale)};
  return check;
}

}  // namespace kimberlite::runtime
