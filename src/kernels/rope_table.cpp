#include "kernels/rope_table.hpp"

#include <cmath>

#include "base/result.hpp"

namespace kimberlite::kernels {

std::vector<float> make_rope_table(const RopeShape& rope) {
  KL_CHECK(rope.n_pairs % 8 == 0 && rope.n_pairs <= rope.head_dim / 2, "pairs of this head");
  std::vector<float> table;
  table.reserve(size_t{2} * kRopeTableRows * rope.n_pairs * 2);
  for (const uint32_t step : {kRopeTableRows, 1u}) {
    for (uint32_t row = 0; row < kRopeTableRows; ++row) {
      for (uint32_t pair = 0; pair < rope.n_pairs; ++pair) {
        const double frequency = std::pow(rope.theta, -2.0 * pair / rope.head_dim);
        const double angle = static_cast<double>(row * step) * frequency;
        table.push_back(static_cast<float>(std::cos(angle)));
        table.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }
  return table;
}

}  // namespace kimberlite::kernels
