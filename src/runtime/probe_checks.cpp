// Products and embedding, and how results are compared. The others: probe_rows.cpp,
// probe_attention.cpp, probe_experts.cpp, probe_sampling.cpp.
#include "runtime/probe_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/numeric.hpp"
#include "kernels/embed.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/panel_product.hpp"
#include "kernels/quant_act.hpp"
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

}  // namespace

std::span<const float> slice(const std::vector<float>& all, uint64_t width, uint32_t first,
                             uint32_t n) {
  return std::span(all).subspan(first * width, n * width);
}

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

reference::Expected gate_products(const reference::Expected& products) {
  constexpr uint64_t kRun = kernels::kGatedRows;
  reference::Expected gate, up;
  for (size_t at = 0; at < products.values.size(); ++at) {
    (at / kRun % 2 == 0 ? gate : up).add(products.values[at], products.bounds[at]);
  }
  return reference::geglu(gate, up);
}

namespace {

/// A matrix of a kind, columns to multiply it with, and what the products must be.
struct MatrixCase {
  PackedMatrix w;
  std::vector<float> x;
  uint64_t y_width = 0;
  std::vector<reference::Expected> expected;
};

MatrixCase make_case(ProbeMemory& memory, const vk::Caps& caps, const MatrixKind& kind, bool gated,
                     uint64_t n_panels, uint32_t n_columns) {
  // Beyond whole panels a rest.
  const uint64_t n_rows = n_panels * kernels::kPanelRows + (gated ? kernels::kPanelRows : 6);
  const uint64_t width = probe_width(kind.type);
  const ProbeMatrix matrix = make_matrix(memory, caps, kind, n_rows, width, 9);
  MatrixCase made{matrix.packed, probe_activations(n_columns * width, 10), n_rows, {}};
  reference::Expected products = reference::linear(matrix.file, made.x);
  if (gated) {
    made.w.gated = true;
    made.y_width = n_rows / 2;
    made.expected = expect_rows(caps, gate_products(products), made.y_width);
  } else {
    made.expected = {std::move(products)};
  }
  return made;
}

ProbePass multiply(ProbeMemory& memory, const vk::Caps& caps, const MatrixCase& of, uint32_t first,
                   uint32_t n, bool many) {
  const Tensor in = memory.add(slice(of.x, of.w.n_cols, first, n), Shape{n, of.w.n_cols});
  kernels::ActivationRows y = memory.add_output(DType::f32, Shape{n, of.y_width});
  if (of.w.gated) y = add_rows(memory, caps, n, of.y_width);
  const auto add = [=, w = of.w](Graph& graph) {
    const Tensor in_class = probe_operand(graph, in, w.linear_class);
    if (many) kernels::add_matmul(graph, w, in_class, y, "matmul");
    if (!many) kernels::add_matvec(graph, w, in_class, y, "matvec");
  };
  return ProbePass{first, n, add, row_outputs(y)};
}

}  // namespace

std::vector<ProbeCheck> matrix_checks(ProbeMemory& memory, const vk::Caps& caps,
                                      const MatrixKind& kind, bool gated) {
  const graph::KernelDesc& matvec = kernels::matvec_kernel(kind.type, kind.linear_class);
  const graph::KernelDesc& matmul = kernels::matmul_kernel(kind.type, kind.linear_class);
  const auto name = [&](const graph::KernelDesc& kernel, std::string_view what = "") {
    return fmt::format("{}{}{}", gated ? "gated " : "", kernel.name, what);
  };
  // As many panels as the widest workgroup takes: the pipelines of large matrices.
  const MatrixCase large = make_case(memory, caps, kind, gated, 64, kColumns);
  const auto few = [&](uint32_t first, uint32_t n) {
    return multiply(memory, caps, large, first, n, /*many=*/false);
  };
  std::vector<ProbeCheck> checks;
  checks.push_back({name(matvec), &matvec, kind, kColumns, make_sweep(few), large.expected});
  checks.push_back({name(matmul),
                    &matmul,
                    kind,
                    kColumns,
                    {multiply(memory, caps, large, 0, kColumns, /*many=*/true)},
                    large.expected});
  // Tiles of as many cooperative matrices as there may be: columns are shared out evenly.
  if (graph::pick_variant(matmul, caps, nullptr).name == kernels::kSplitMatrix) {
    const uint32_t n = align_up(3 * caps.matrix_columns, kColumns) - kColumns;
    const MatrixCase wide = make_case(memory, caps, kind, gated, 1, n);
    checks.push_back({name(matmul, " of many columns"),
                      &matmul,
                      kind,
                      n,
                      {multiply(memory, caps, wide, 0, n, /*many=*/true)},
                      wide.expected});
  }
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
