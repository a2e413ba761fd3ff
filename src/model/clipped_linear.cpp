#include "model/clipped_linear.hpp"

#include <fmt/format.h>

#include <cmath>

#include "formats/quant.hpp"
#include "model/weight_table.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Tensor;
using kernels::Bounds;
using kernels::LinearInput;

LinearInput& ClippedInput::within(Graph& graph, const Bounds& bounds) {
  for (auto& [known, input] : clipped_) {
    if (known == bounds) return input;
  }
  Tensor x = x_;
  if (!bounds.are_open()) {
    const std::string name = fmt::format("{}.clip.{}", label_, clipped_.size());
    x = graph.transient(name, DType::f32, x_.shape);
    kernels::add_clip(graph, x_, x, bounds, name);
  }
  return clipped_.emplace_back(bounds, LinearInput(x, label_ + ".act")).second;
}

void add_clipped_linear(Graph& graph, const ClippedLinearWeights& w, ClippedInput& x,
                        const Tensor& y, const std::string& label) {
  kernels::add_linear(graph, w.matrix, x.within(graph, w.input), y, label);
  if (!w.output.are_open()) kernels::add_clip(graph, y, y, w.output, label + ".clip");
}

/// Each bound may be missing by itself.
Status WeightTable::add_clipped_linear(const std::string& stem, uint64_t n_rows, uint64_t n_cols,
                                       ClippedLinearWeights& out) {
  KL_TRY(add_matrix(stem + ".weight", WeightEntry::kShared, n_rows, n_cols, out.matrix));
  KL_TRY(read_bounds(stem + ".input", out.input));
  return read_bounds(stem + ".output", out.output);
}

Status WeightTable::read_bounds(const std::string& stem, Bounds& bounds) const {
  for (const auto& [ending, value] : {std::pair{"_min", &bounds.low}, {"_max", &bounds.high}}) {
    const std::string name = stem + ending;
    if (file_->find_tensor(name) == nullptr) continue;
    KL_ASSIGN(const formats::TensorInfo* source, find_floats(name, {1}));
    formats::dequantize_row(source->type, source->data.data(), value, 1);
    if (std::isnan(*value)) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: {}: is {}, expected a bound", file_->path(), name, *value)};
    }
  }
  if (bounds.low <= bounds.high) return {};
  return Error{ErrorCode::bad_file,
               fmt::format("{}: {}_min is {}, above {}_max, which is {}", file_->path(), stem,
                           bounds.low, stem, bounds.high)};
}

}  // namespace kimberlite::model
