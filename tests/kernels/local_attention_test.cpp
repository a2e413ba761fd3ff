#include "kernels/local_attention.hpp"

#include <algorithm>

#include "kernels/conformer_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;
using reference::LocalAttentionArgs;

struct Case {
  uint64_t n;
  uint64_t n_heads;
  uint64_t d;
  float size;  // of queries and keys: larger ones reach the cap
};
constexpr Case kCases[] = {
    {1, 1, 4, 1.0f}, {13, 2, 32, 1.0f}, {40, 8, 128, 0.5f}, {25, 3, 36, 3.0f}};
constexpr float kKeyScale = 1.9f;
constexpr float kCap = 50.0f;

class LocalAttentionTest : public testing::GpuTest {
 protected:
  void make(const Case& one) {
    shape_ = one;
    const uint64_t row = one.n_heads * one.d;
    q_ = random_values(one.n * row, 1, one.size);
    k_ = random_values(one.n * row, 2, one.size);
    v_ = random_values(one.n * row, 3);
    relative_ = random_values(16 * row, 4);
    scale_ = random_values(one.d, 5);
  }
  [[nodiscard]] LocalAttentionArgs args() const {
    return {q_, k_, v_, relative_, scale_, shape_.n_heads, kKeyScale, kCap};
  }
  std::vector<float> compute(const graph::VariantPolicy& policy) {
    const Shape shape{shape_.n, shape_.n_heads * shape_.d};
    const Tensor out = poisoned(DType::f32, shape);
    Graph graph(caps_, &policy);
    add_local_attention(graph,
                        {.q = upload(q_, shape),
                         .k = upload(k_, shape),
                         .v = upload(v_, shape),
                         .relative = upload(relative_, Shape{16, shape[1]}),
                         .scale = upload(scale_, Shape{shape_.d}),
                         .out = out,
                         .k_scale = kKeyScale,
                         .cap = kCap},
                        "attention");
    run(graph);
    return download(out);
  }

  Case shape_{};
  std::vector<float> q_, k_, v_, relative_, scale_;
};

TEST_F(LocalAttentionTest, MatchesDoublePrecision) {
  for_each_variant(kLocalAttention, [&](const graph::VariantPolicy& policy) {
    for (const Case& one : kCases) {
      SCOPED_TRACE(std::to_string(one.n) + " rows of " + std::to_string(one.d));
      make(one);
      const Expected expected = reference::local_attention(args());
      const std::vector<float> out = compute(policy);
      ASSERT_EQ(out.size(), expected.values.size());
      for (size_t i = 0; i < out.size(); ++i) {
        ASSERT_NEAR(out[i], expected.values[i], expected.bounds[i]) << i;
      }
    }
  });
}

/// The bounds must see another window, no cap, no scale of keys, and relative keys one off.
TEST_F(LocalAttentionTest, TheBoundsSeeMutations) {
  make(kCases[2]);
  const Expected right = reference::local_attention(args());
  const auto moved = [&](const LocalAttentionArgs& other) {
    const Expected wrong = reference::local_attention(other);
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); ++i) {
      worst = std::max(worst, std::abs(wrong.values[i] - right.values[i]) / right.bounds[i]);
    }
    return worst;
  };
  for (const uint64_t window : {11u, 13u}) {
    LocalAttentionArgs other = args();
    other.window = window;
    EXPECT_GT(moved(other), 10) << window;
  }
  LocalAttentionArgs other = args();
  other.cap = 1e6f;
  EXPECT_GT(moved(other), 10);
  other = args();
  other.k_scale = 1;
  EXPECT_GT(moved(other), 10);
  other = args();
  other.relative = std::span<const float>(relative_).subspan(shape_.n_heads * shape_.d);
  EXPECT_GT(moved(other), 10);
}

}  // namespace
}  // namespace kimberlite::kernels
