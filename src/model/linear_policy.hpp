// Which arithmetic the products of a model use: what the user wants and the driver gets right.
#pragma once

#include <set>

#include "kernels/packed_matrix.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::model {

struct LinearPolicy {
  bool precise = false;                    // float32 activations in every product
  std::set<kernels::MatrixKind> disabled;  // classes that failed on this driver

  [[nodiscard]] kernels::LinearClass pick(formats::GgmlType type, uint64_t n_rows, uint64_t n_cols,
                                          const vk::Caps& caps) const {
    const kernels::LinearClass best =
        kernels::pick_linear_class(type, n_rows, n_cols, caps, precise);
    return disabled.contains({type, best}) ? kernels::LinearClass::f32 : best;
  }
};

}  // namespace kimberlite::model
