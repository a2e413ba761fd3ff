// Attention over the longest cache: every key counts, also where a driver limits the rounds of a
// shader's loops (Caps::max_loop_rounds).
#include <cmath>

#include "kernels/attention.hpp"
#include "kernels/kv_oracle.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr uint32_t kDim = 256;
constexpr uint32_t kPlain = 4096;  // rows that repeat over most of the cache
constexpr uint32_t kLate = 64;  // one for each of the last chunks, together about half the weight

class LongAttentionTest : public testing::GpuTest {
 protected:
  /// Which of the kPlain + kLate rows position j holds. K and V are the same tensor.
  [[nodiscard]] uint32_t row_of(uint32_t j) const {
    const uint32_t first_late = n_positions_ - kLate * kAttentionChunk;
    return j < first_late ? j % kPlain : kPlain + (j - first_late) / kAttentionChunk;
  }

  void SetUp() override {
    const std::vector<float> q = random_values(kDim, 1, 0.5f / std::sqrt(float{kDim}));
    double norm = 0;
    for (const float value : q) norm += double{value} * value;
    for (uint32_t row = 0; row < kPlain + kLate; ++row) {
      std::vector<float> values = random_values(kDim, 10 + row);
      const double lift = row < kPlain ? 0 : std::log(n_positions_ / (kLate * kAttentionChunk) - 1);
      for (uint32_t i = 0; i < kDim; ++i) values[i] += static_cast<float>(lift / norm * q[i]);
      rows_.set(0, row, 0, values.data());
    }
    const size_t row_bytes = kv_head_bytes(KvType::f16, kDim);
    std::vector<uint8_t> bytes(n_positions_ * row_bytes);
    for (uint32_t j = 0; j < n_positions_; ++j) {
      std::memcpy(&bytes[j * row_bytes], &rows_.bytes()[row_of(j) * row_bytes], row_bytes);
    }
    view_.k = upload_wide(bytes.data(), bytes.size());
    view_.k.shape = kv_shape(view_);
    view_.v = view_.k;
    q_ = q;
  }

  /// One head for `n` columns that end at the last position, all with the same query.
  std::vector<float> compute(uint32_t n, const graph::VariantPolicy& policy) {
    std::vector<float> q;
    std::vector<uint32_t> columns;
    for (uint32_t i = 0; i < n; ++i) {
      q.insert(q.end(), q_.begin(), q_.end());
      columns.insert(columns.end(), {0, n_positions_ - n + i, 0, 1});
    }
    const Tensor out = poisoned(DType::f32, Shape{n, kDim});
    Graph graph(caps_, &policy);
    add_attention(graph, upload(q, Shape{n, kDim}), upload(columns, Shape{n, 4}), view_, out, 1,
                  "attention");
    run(graph);
    return download(out);
  }

  /// In double precision; keys of one row share a score.
  void expect_mean(const std::vector<float>& out, uint32_t n) const {
    std::vector<double> score(kPlain + kLate);
    for (uint32_t row = 0; row < kPlain + kLate; ++row) {
      for (uint32_t i = 0; i < kDim; ++i) score[row] += double{q_[i]} * rows_.get(0, row, 0, i);
    }
    for (uint32_t column = 0; column < n; ++column) {
      std::vector<double> weight(kPlain + kLate);
      double total = 0;
      for (uint32_t j = 0; j <= n_positions_ - n + column; ++j) {
        weight[row_of(j)] += std::exp(score[row_of(j)]);
        total += std::exp(score[row_of(j)]);
      }
      for (uint32_t i = 0; i < kDim; ++i) {
        double mean = 0, magnitude = 0;
        for (uint32_t row = 0; row < kPlain + kLate; ++row) {
          const double term = weight[row] / total * rows_.get(0, row, 0, i);
          mean += term;
          magnitude += std::abs(term);
        }
        // Numerator and denominator: equal terms are rounded alike, others at random; and a few
        // roundings of each weight (scores are below 8, Vulkan's exp is off by 3 + 2 * 8 units).
        const double n_roundings = n_positions_ / std::sqrt(kPlain) + 2 * (3 + 2 * 8);
        const double bound = 2 * magnitude * n_roundings * 0x1p-24;
        ASSERT_NEAR(out[column * kDim + i], mean, bound) << "column " << column << " value " << i;
      }
    }
  }

  // As many as attention is meant for where rounds are limited, else just many.
  const uint32_t n_positions_ =
      caps_.max_loop_rounds != UINT32_MAX ? kv_max_rows(caps_, KvType::f16, 1, kDim) : 16384;
  KvCacheView view_{.type = KvType::f16, .n_kv_heads = 1, .head_dim = kDim, .n_rows = n_positions_};
  HostCache rows_{{.type = KvType::f16, .head_dim = kDim, .n_rows = kPlain + kLate}};
  std::vector<float> q_;
};

TEST_F(LongAttentionTest, DecodeSeesEveryKeyInOnePass) {
  caps_.n_compute_units = 0;  // one workgroup has all keys
  for_each_variant(kAttention,
                   [&](const graph::VariantPolicy& policy) { expect_mean(compute(1, policy), 1); });
}

TEST_F(LongAttentionTest, PrefillSeesEveryKey) {
  for_each_variant(kAttentionPrefill, [&](const graph::VariantPolicy& policy) {
    constexpr uint32_t kColumns = kMaxDecodeColumns + 1;
    expect_mean(compute(kColumns, policy), kColumns);
  });
}

}  // namespace
}  // namespace kimberlite::kernels
