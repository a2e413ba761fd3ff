#include "kernels/rope_kv.hpp"

#include <cmath>
#include <utility>

#include "kernels/kv_oracle.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using shaders::Column;

constexpr float kEps = 1e-6f;
constexpr RopeShape kSliding{256, 128, 1e4};
constexpr RopeShape kFull{512, 64, 1e6};  // "proportional": 64 of 256 pairs rotate

struct Case {
  RopeShape rope;
  KvType type;
  uint32_t n_heads;
  uint32_t n_kv_heads;
  uint32_t n_rows;
  uint32_t n_sequences;
  std::vector<Column> columns;
  uint32_t segment_rows = 0;  // 0: no table
};

std::vector<Case> cases() {
  const std::vector<Column> ring{{0, 262143, 1, 1}, {0, 0, 0, 1}, {0, 77, 0, 0}, {0, 200, 1, 1}};
  const std::vector<Column> run{{0, 126, 0, 1}, {0, 127, 0, 1}, {0, 128, 0, 1}};
  return {
      {kSliding, KvType::f32, 2, 1, 128, 2, ring},  {kSliding, KvType::f16, 4, 2, 128, 2, ring},
      {kSliding, KvType::q8_0, 3, 3, 128, 2, ring}, {kFull, KvType::f32, 1, 1, 192, 1, run},
      {kFull, KvType::f16, 8, 1, 192, 1, run},      {kFull, KvType::q8_0, 2, 2, 192, 1, run},
  };
}

/// Caches behind tables: segments of one chunk, a short last one, two sequences, positions that are
/// inactive or beyond the cache.
std::vector<Case> segment_cases() {
  const std::vector<Column> two{{0, 70, 1, 1}, {0, 0, 0, 1}, {0, 77, 0, 0}, {0, 191, 1, 1}};
  const std::vector<Column> run{{0, 127, 0, 1}, {0, 128, 0, 1}, {0, 192, 0, 0}, {0, 9000, 0, 0}};
  return {{kSliding, KvType::f32, 2, 1, 192, 2, two, 128},
          {kSliding, KvType::f16, 4, 2, 192, 2, two, 64},
          {kFull, KvType::f16, 8, 1, 192, 1, run, 128},
          {kFull, KvType::q8_0, 2, 2, 192, 1, run, 4096}};
}

struct Heads {
  std::vector<float> q;
  std::vector<std::byte> cache_k, cache_v;
};

/// One head in double precision: normed, then rotated to `position` (no rotation for values).
std::vector<double> expected_head(const float* x, const float* weight, const RopeShape& rope,
                                  uint32_t position, bool rotates) {
  const uint32_t d = rope.head_dim;
  double sum = 0;
  for (uint32_t i = 0; i < d; ++i) sum += double{x[i]} * x[i];
  const double factor = 1 / std::sqrt(sum / d + double{kEps});
  std::vector<double> y(d);
  for (uint32_t i = 0; i < d; ++i) y[i] = x[i] * factor * (weight != nullptr ? weight[i] : 1.0);
  for (uint32_t i = 0; rotates && i < rope.n_pairs; ++i) {
    const double angle = position * std::pow(rope.theta, -2.0 * i / d);
    const double a = y[i], b = y[i + d / 2];
    y[i] = a * std::cos(angle) - b * std::sin(angle);
    y[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
  }
  return y;
}

/// Of element i, before rounding to the cache's type: norm (see rms_norm_test), then two table
/// entries, their combination and the rotation, at most 8 roundings of the pair's length.
double tolerance(const std::vector<double>& y, uint32_t i) {
  const auto d = static_cast<uint32_t>(y.size());
  const double length = std::hypot(y[i], y[(i + d / 2) % d]);
  return length * (12.0 + std::sqrt(d)) * 0x1p-24 + 1e-30;
}

class RopeKvTest : public testing::GpuTest {
 protected:
  /// Runs columns [first, first + n) of the case over a poisoned cache.
  Heads compute(const Case& c, const graph::VariantPolicy& policy, size_t first, size_t n) {
    const uint64_t d = c.rope.head_dim;
    const auto slice = [&](const std::vector<float>& all, uint64_t width) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * width);
      return upload(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n * width)),
                    Shape{n, width});
    };
    KvCacheView cache = make_view(c);
    const std::vector<Tensor> k = poisoned_rows(c), v = poisoned_rows(c);
    cache.k = c.segment_rows == 0 ? k[0] : upload_addresses(k);
    cache.v = c.segment_rows == 0 ? v[0] : upload_addresses(v);
    const Tensor q = poisoned(DType::f32, Shape{n, c.n_heads * d});
    Graph graph(caps_, &policy);
    add_rope_kv(graph,
                {.q_raw = slice(raw_q(c), c.n_heads * d),
                 .k_raw = slice(raw_k(c), c.n_kv_heads * d),
                 .v_raw = slice(raw_v(c), c.n_kv_heads * d),
                 .q_norm = upload(random_values(d, 4), Shape{d}),
                 .k_norm = upload(random_values(d, 5), Shape{d}),
                 .columns = upload_columns(c, first, n),
                 .table = upload_table(c.rope),
                 .q = q,
                 .eps = kEps},
                cache, "qkv");
    n_nodes_ = graph.nodes().size();
    run(graph);
    return {download(q), download_rows(k), download_rows(v)};
  }

  /// The rows in one tensor, or in segments in the order of the table.
  std::vector<Tensor> poisoned_rows(const Case& c) {
    const KvCacheView view = make_view(c);
    if (c.segment_rows == 0) return {poisoned(DType::wide, kv_shape(view))};
    std::vector<Tensor> segments;
    for (const auto& segment : cut_segments(HostCache(view), c.segment_rows)) {
      segments.push_back(poisoned(DType::wide, Shape{segment.size() / 16}));
    }
    return segments;
  }

  std::vector<std::byte> download_rows(const std::vector<Tensor>& tensors) {
    std::vector<std::byte> rows;
    for (const Tensor& tensor : tensors) {
      const std::vector<std::byte> bytes = download_bytes(tensor);
      rows.insert(rows.end(), bytes.begin(), bytes.end());
    }
    return rows;
  }

  static KvCacheView make_view(const Case& c) {
    return {.type = c.type,
            .n_kv_heads = c.n_kv_heads,
            .head_dim = c.rope.head_dim,
            .n_rows = c.n_rows,
            .n_sequences = c.n_sequences,
            .segment_rows = c.segment_rows};
  }

  static std::vector<float> raw_q(const Case& c) {
    return random_values(c.columns.size() * c.n_heads * c.rope.head_dim, 1, 3.0f);
  }
  static std::vector<float> raw_k(const Case& c) {
    return random_values(c.columns.size() * c.n_kv_heads * c.rope.head_dim, 2, 0.1f);
  }
  static std::vector<float> raw_v(const Case& c) {
    return random_values(c.columns.size() * c.n_kv_heads * c.rope.head_dim, 3, 20.0f);
  }

  Tensor upload_columns(const Case& c, size_t first, size_t n) {
    return upload(column_words(c.columns, first, n), Shape{n, 4});
  }

  Tensor upload_table(const RopeShape& rope) {
    return upload(make_rope_table(rope), Shape{2 * kRopeTableRows, rope.n_pairs * 2});
  }

  /// Every query against double precision.
  static void expect_queries(const Case& c, const std::vector<float>& q) {
    const auto raw = raw_q(c);
    const auto weight = random_values(c.rope.head_dim, 4);
    const uint32_t d = c.rope.head_dim;
    for (uint32_t row = 0; row < c.columns.size() * c.n_heads; ++row) {
      const auto y = expected_head(&raw[row * d], weight.data(), c.rope,
                                   c.columns[row / c.n_heads].position, true);
      for (uint32_t i = 0; i < d; ++i) {
        ASSERT_NEAR(q[row * d + i], y[i], tolerance(y, i)) << "head " << row << " element " << i;
      }
    }
  }

  /// Every byte of the cache: rows of active columns against double precision, others untouched.
  static void expect_cache(const Case& c, const std::vector<std::byte>& bytes, bool is_key) {
    const uint32_t d = c.rope.head_dim;
    const auto raw = is_key ? raw_k(c) : raw_v(c);
    const auto weight = random_values(d, 5);
    HostCache written(make_view(c));
    written.assign(bytes);
    for (uint32_t row = 0; row < c.columns.size() * c.n_kv_heads; ++row) {
      const Column& column = c.columns[row / c.n_kv_heads];
      if (column.is_active == 0) continue;
      const auto y = expected_head(&raw[row * d], is_key ? weight.data() : nullptr, c.rope,
                                   column.position, is_key);
      for (uint32_t i = 0; i < d; ++i) {
        const float value = written.get(column.sequence, column.position, row % c.n_kv_heads, i);
        ASSERT_NEAR(value, y[i], tolerance(y, i) + rounding(c.type, y, i)) << row << " " << i;
      }
      written.poison(column.sequence, column.position, row % c.n_kv_heads);
    }
    EXPECT_EQ(written.bytes(), HostCache(make_view(c)).bytes());
  }

  /// What rounding to the type may change. f16: one unit, as packHalf2x16 may round either way.
  /// q8_0: half a step, the step being off by one f16 unit.
  static double rounding(KvType type, const std::vector<double>& y, uint32_t i) {
    if (type == KvType::f32) return 0;
    if (type == KvType::f16) return std::abs(y[i]) * 0x1p-10 + 0x1p-24;
    double peak = 0;
    for (uint32_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) peak = std::max(peak, std::abs(y[j]));
    return peak / 127 * 0.5 * (1 + 0x1p-9);
  }

  size_t n_nodes_ = 0;
};

TEST_F(RopeKvTest, MatchesDoublePrecision) {
  for_each_variant(kRopeKv, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : cases()) {
      SCOPED_TRACE(kv_row_bytes(c.type, c.n_kv_heads, c.rope.head_dim));
      const Heads heads = compute(c, policy, 0, c.columns.size());
      expect_queries(c, heads.q);
      expect_cache(c, heads.cache_k, true);
      expect_cache(c, heads.cache_v, false);
    }
  });
}

TEST_F(RopeKvTest, SegmentsMatchDoublePrecision) {
  for_each_variant(kRopeKvTable, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : segment_cases()) {
      SCOPED_TRACE(c.segment_rows);
      const Heads heads = compute(c, policy, 0, c.columns.size());
      EXPECT_EQ(n_nodes_, 1u);
      expect_queries(c, heads.q);
      expect_cache(c, heads.cache_k, true);
      expect_cache(c, heads.cache_v, false);
    }
  });
}

TEST_F(RopeKvTest, ACacheBeyondOneBindingIsWrittenInParts) {
  Case c = cases()[1];
  caps_.max_storage_range_bytes = 64 * kv_row_bytes(c.type, c.n_kv_heads, c.rope.head_dim) + 16;
  for_each_variant(kRopeKv, [&](const graph::VariantPolicy& policy) {
    const Heads heads = compute(c, policy, 0, c.columns.size());
    EXPECT_EQ(n_nodes_, 4u);
    expect_queries(c, heads.q);
    expect_cache(c, heads.cache_k, true);
    expect_cache(c, heads.cache_v, false);
  });
}

TEST_F(RopeKvTest, ColumnsDoNotDependOnTheirNumber) {
  for_each_variant(kRopeKv, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : {cases()[1], cases()[5]}) {
      const Heads together = compute(c, policy, 0, c.columns.size());
      const size_t width = c.n_heads * c.rope.head_dim;
      for (size_t column = 0; column < c.columns.size(); ++column) {
        const Heads alone = compute(c, policy, column, 1);
        for (size_t i = 0; i < width; ++i) ASSERT_EQ(alone.q[i], together.q[column * width + i]);
        for (size_t i = 0; i < alone.cache_k.size(); ++i) {
          if (alone.cache_k[i] != std::byte{0xff}) {
            ASSERT_EQ(alone.cache_k[i], together.cache_k[i]);
          }
        }
      }
    }
  });
}

TEST_F(RopeKvTest, QueriesAloneAreTheSameQueries) {
  for_each_variant(kRopeQ, [&](const graph::VariantPolicy& policy) {
    const Case c = cases()[4];
    const uint64_t n = c.columns.size(), d = c.rope.head_dim;
    const Tensor q = poisoned(DType::f32, Shape{n, c.n_heads * d});
    Graph graph(caps_, &policy);
    add_rope_q(graph,
               {upload(raw_q(c), Shape{n, c.n_heads * d}), upload(random_values(d, 4), Shape{d}),
                upload_columns(c, 0, n), upload_table(c.rope), q, kEps},
               "q");
    run(graph);
    EXPECT_EQ(download(q), compute(c, policy, 0, n).q);
  });
}

/// The tolerance must see a frequency computed with another denominator, a window of one position
/// and a forgotten norm weight.
TEST_F(RopeKvTest, TheToleranceSeesMutations) {
  const std::vector<float> x = random_values(512, 1), weight = random_values(512, 2);
  const auto right = expected_head(x.data(), weight.data(), kFull, 9, true);
  RopeShape other = kFull;
  other.theta = std::pow(kFull.theta, 4.0);  // denominator 128 instead of 512
  const std::vector<std::vector<double>> wrong = {
      expected_head(x.data(), weight.data(), other, 9, true),
      expected_head(x.data(), weight.data(), kFull, 10, true),
      expected_head(x.data(), nullptr, kFull, 9, true)};
  for (const auto& y : wrong) {
    double worst = 0;
    for (uint32_t i = 0; i < 512; ++i) {
      worst = std::max(worst, (std::abs(y[i] - right[i])) /
                                  (tolerance(right, i) + rounding(KvType::q8_0, right, i)));
    }
    EXPECT_GT(worst, 10);
  }
}

/// The sum of two table angles, rounded as the shader rounds: 2 entries off by 2^-25 of 1 each in
/// every product, two products and one sum. 6 * 2^-24 = 3.6e-7.
TEST(RopeTable, HoldsAtTheLongestContext) {
  for (const RopeShape& rope : {kSliding, kFull}) {
    const std::vector<float> table = make_rope_table(rope);
    ASSERT_EQ(table.size(), size_t{2} * kRopeTableRows * rope.n_pairs * 2);
    for (const uint32_t position : {0u, 1u, 511u, 512u, 8191u, 131071u, 262143u}) {
      for (uint32_t pair = 0; pair < rope.n_pairs; ++pair) {
        const float* a = &table[(size_t{position / 512} * rope.n_pairs + pair) * 2];
        const float* b = &table[(size_t{512 + position % 512} * rope.n_pairs + pair) * 2];
        const double angle = position * std::pow(rope.theta, -2.0 * pair / rope.head_dim);
        EXPECT_NEAR(std::fma(a[0], b[0], -(a[1] * b[1])), std::cos(angle), 6 * 0x1p-24);
        EXPECT_NEAR(std::fma(a[1], b[0], a[0] * b[1]), std::sin(angle), 6 * 0x1p-24);
      }
    }
  }
}

}  // namespace
}  // namespace kimberlite::kernels
