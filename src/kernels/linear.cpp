#include "kernels/linear.hpp"

#include <algorithm>

#include "kernels/matmul.hpp"

namespace kimberlite::kernels {

using graph::DType;
using graph::Shape;
using graph::Tensor;

namespace {

bool has_reader(LinearInput::Readers readers, LinearClass linear_class) {
  return std::ranges::any_of(readers, [&](const PackedMatrix* matrix) {
    return matrix->n_rows != 0 && matrix->linear_class == linear_class;
  });
}

/// Rows that the class reads; not valid() where the kernel that computes them cannot round.
ActivationRows make_rounded(graph::Graph& graph, uint64_t n, uint64_t width,
                            LinearInput::Readers readers, const std::string& label) {
  ActivationRows rows;
  if (!can_round_rows(graph.caps(), width)) return rows;
  for (const LinearClass linear_class : {LinearClass::int8_dot, LinearClass::int8_swar}) {
    if (rows.rounded.valid() || !has_reader(readers, linear_class)) continue;
    rows.rounding = linear_class;
    rows.rounded = graph.transient(label, DType::u32, {n, quantized_width(linear_class, width)});
  }
  return rows;
}

}  // namespace

LinearInput::LinearInput(graph::Graph& graph, std::string label, uint64_t n, uint64_t width,
                         Readers readers)
    : rows_(make_rounded(graph, n, width, readers, label)), label_(std::move(label)) {
  if (rows_.rounded.valid()) rounded_.emplace(rows_.rounding, rows_.rounded);
  const bool complete = std::ranges::all_of(readers, [&](const PackedMatrix* matrix) {
    return matrix->n_rows == 0 || rounded_.contains(matrix->linear_class);
  });
  if (!complete) rows_.f32 = graph.transient(label_, DType::f32, Shape{n, width});
}

LinearInput::LinearInput(graph::Graph& graph, std::string label, const Tensor& f32, Readers readers)
    : LinearInput(f32, std::move(label)) {
  const ActivationRows rounded = add_rounded(graph, readers);
  rows_.rounding = rounded.rounding;
  rows_.rounded = rounded.rounded;
}

ActivationRows LinearInput::add_rounded(graph::Graph& graph, Readers readers) {
  const Shape& shape = rows_.f32.shape;
  const ActivationRows rows = make_rounded(graph, shape[0], shape[1], readers, label_);
  if (rows.rounded.valid()) rounded_.emplace(rows.rounding, rows.rounded);
  return rows;
}

Tensor LinearInput::operand(graph::Graph& graph, LinearClass linear_class) {
  if (linear_class == LinearClass::f32) return rows_.f32;
  const auto found = rounded_.find(linear_class);
  if (found != rounded_.end()) return found->second;
  const Tensor rounded = add_quant_act(graph, rows_.f32, linear_class, label_);
  rounded_.emplace(linear_class, rounded);
  return rounded;
}

void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const ActivationRows& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const Tensor x = input.operand(graph, w.linear_class);
  if (x.shape[0] <= kMaxColumns) {
    add_matvec(graph, w, x, y, label, epilogue);
    return;
  }
  KL_CHECK(epilogue.softcap == 0, "the prefill product has no epilogue");
  add_matmul(graph, w, x, y, label);
}

}  // namespace kimberlite::kernels
