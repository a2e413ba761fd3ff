#include "kernels/linear.hpp"

#include "kernels/matmul.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels {

graph::Tensor LinearInput::operand(graph::Graph& graph, LinearClass linear_class) {
  if (linear_class == LinearClass::f32) return x_;
  const auto found = rounded_.find(linear_class);
  if (found != rounded_.end()) return found->second;
  const graph::Tensor rounded = add_quant_act(graph, x_, linear_class, label_);
  rounded_.emplace(linear_class, rounded);
  return rounded;
}

void add_linear(graph::Graph& graph, const PackedMatrix& w, LinearInput& input,
                const graph::Tensor& y, const std::string& label, const MatvecEpilogue& epilogue) {
  const graph::Tensor x = input.operand(graph, w.linear_class);
  if (y.shape[0] <= kMaxColumns) {
    add_matvec(graph, w, x, y, label, epilogue);
    return;
  }
  KL_CHECK(epilogue.softcap == 0, "the prefill product has no epilogue");
  add_matmul(graph, w, x, y, label);
}

}  // namespace kimberlite::kernels
