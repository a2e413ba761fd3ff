#include "kernels/tower_attention.hpp"

#include <algorithm>
#include <limits>

#include "kernels/tower_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;

struct Case {
  uint64_t n_queries;
  uint64_t n_keys;
  uint64_t n_heads;
  uint32_t head_dim;
  uint64_t n_rows = 0;  // of k and v, beyond the keys: 0: as many
};
/// One key, a block that is not full, more than one run of keys in shared memory, more than a tile
/// of queries; heads of every family member and of the largest.
constexpr Case kCases[] = {{1, 1, 1, 8},           {9, 3, 2, 64, 8},     {8, 81, 3, 72, 88},
                           {140, 130, 2, 64, 136}, {33, 70, 1, 128, 72}, {17, 9, 2, 20, 16}};

class TowerAttentionTest : public testing::GpuTest {
 protected:
  void make(const Case& c, float scale) {
    const uint64_t width = c.n_heads * c.head_dim;
    n_rows_ = std::max(c.n_rows, c.n_keys);
    q_ = random_values(c.n_queries * width, 1, scale);
    k_ = random_values(n_rows_ * width, 2, scale);
    v_ = random_values(n_rows_ * width, 3);
    // What lies behind the keys is not read.
    const auto behind = static_cast<std::ptrdiff_t>(c.n_keys * width);
    std::fill(k_.begin() + behind, k_.end(), std::numeric_limits<float>::quiet_NaN());
    std::fill(v_.begin() + behind, v_.end(), std::numeric_limits<float>::quiet_NaN());
  }
  [[nodiscard]] Expected expected(const Case& c) const {
    return reference::tower_attention({.q = q_,
                                       .k = k_,
                                       .v = v_,
                                       .n_keys = c.n_keys,
                                       .n_heads = c.n_heads,
                                       .head_dim = c.head_dim});
  }
  std::vector<float> compute(const Case& c, const graph::VariantPolicy* policy) {
    const uint64_t width = c.n_heads * c.head_dim;
    const Tensor y = poisoned(DType::f32, Shape{c.n_queries, width});
    Graph graph(caps_, policy);
    add_tower_attention(graph,
                        {.q = upload(q_, Shape{c.n_queries, width}),
                         .k = upload(k_, Shape{n_rows_, width}),
                         .v = upload(v_, Shape{n_rows_, width}),
                         .y = y,
                         .head_dim = c.head_dim,
                         .n_keys = static_cast<uint32_t>(c.n_keys)},
                        "attention");
    run(graph);
    return download(y);
  }

  void expect_right(const graph::VariantPolicy* policy) {
    for (const Case& c : kCases) {
      // Scores near each other, and one that outweighs the rest.
      for (const float scale : {0.4f, 2.5f}) {
        SCOPED_TRACE(std::to_string(c.head_dim) + " " + std::to_string(c.n_keys));
        make(c, scale);
        const Expected right = expected(c);
        const std::vector<float> y = compute(c, policy);
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_NEAR(y[i], right.values[i], right.bounds[i]) << i;
        }
      }
    }
  }

  uint64_t n_rows_ = 0;
  std::vector<float> q_, k_, v_;
};

TEST_F(TowerAttentionTest, MatchesDoublePrecision) {
  for_each_variant(kTowerAttention,
                   [&](const graph::VariantPolicy& policy) { expect_right(&policy); });
}

/// CPU drivers have tiles of their own.
TEST_F(TowerAttentionTest, MatchesDoublePrecisionAsThisDeviceComputesIt) { expect_right(nullptr); }

/// The bounds must see a key more or less, and a scale of 1 / sqrt(head_dim).
TEST_F(TowerAttentionTest, TheBoundsSeeMutations) {
  Case c{4, 81, 2, 72};
  make(c, 0.4f);
  const Expected right = expected(c);
  const auto ratio = [&](const Expected& other) {
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(other.values[i] - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  c.n_keys = 80;
  EXPECT_GT(ratio(expected(c)), 100);
  c.n_keys = 81;
  for (float& value : q_) value /= 8.485f;
  EXPECT_GT(ratio(expected(c)), 100);
}

}  // namespace
}  // namespace kimberlite::kernels
