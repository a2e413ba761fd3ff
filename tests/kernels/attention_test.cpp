#include "kernels/attention.hpp"

#include <cmath>
#include <random>

#include "kernels/kv_oracle.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using shaders::Column;

struct Case {
  const char* name;
  KvType type;
  uint32_t head_dim;
  uint32_t n_heads;
  uint32_t n_kv_heads;
  uint32_t n_rows;
  uint32_t window;  // 0: full
  uint32_t n_sequences;
  std::vector<Column> columns;
  uint32_t segment_rows = 0;  // 0: no table
  OwnKey own_key = OwnKey::seen;

  /// Keys that the column sees: first .. end - 1.
  [[nodiscard]] uint32_t first_key(const Column& column) const {
    return window == 0 || column.position < window ? 0 : column.position - window + 1;
  }
  [[nodiscard]] uint32_t end_key(const Column& column) const {
    const uint32_t n_ahead = window != 0 ? column.is_active - 1 : 0;
    return column.position + (own_key == OwnKey::seen ? 1 + n_ahead : 0);
  }
};

Column at(uint32_t position, uint32_t sequence = 0) { return {0, position, sequence, 1}; }
constexpr Column kInactive{0, 12345, 0, 0};

/// Positions of a picture: each sees those behind it too, in a window.
std::vector<Column> block(uint32_t first, uint32_t n) {
  std::vector<Column> columns;
  for (uint32_t i = 0; i < n; ++i) columns.push_back({0, first + i, 0, n - i});
  return columns;
}

/// Few combinations of type, head and group: each is a pipeline of every variant to compile.
std::vector<Case> decode_cases() {
  return {
      {"first position", KvType::f16, 256, 2, 1, 128, 0, 1, {at(0)}},
      {"full, ragged", KvType::f16, 256, 4, 2, 256, 0, 1, {at(149), at(150), at(151)}},
      {"full, 512, group 8", KvType::f16, 512, 8, 1, 192, 0, 1, {at(130)}},
      {"full, 512, group 3, float", KvType::f32, 512, 3, 1, 128, 0, 1, {at(64)}},
      {"full, 512, quantised", KvType::q8_0, 512, 4, 2, 128, 0, 1, {at(63), at(70)}},
      {"window shorter than history", KvType::f16, 256, 2, 1, 256, 100, 1, {at(230)}},
      {"window longer than history", KvType::f16, 256, 2, 1, 256, 100, 1, {at(41)}},
      {"window of one chunk", KvType::f16, 256, 2, 1, 192, 65, 1, {at(127), at(128)}},
      {"wrapped ring", KvType::f16, 256, 4, 2, 192, 96, 1, {at(1000), at(1001), at(1002)}},
      {"last position", KvType::f16, 256, 2, 1, 192, 128, 1, {at(262142), at(262143)}},
      {"sequences", KvType::f16, 256, 4, 2, 128, 70, 3, {at(500, 2), at(3), kInactive, at(64, 1)}},
      {"small picture", KvType::f16, 256, 4, 2, 128, 70, 1, block(1021, 5)},
  };
}

/// Positions of a sequence that follow one another, and padding.
std::vector<Column> consecutive(uint32_t first, uint32_t n, uint32_t n_padding, uint32_t sequence) {
  std::vector<Column> columns;
  for (uint32_t i = 0; i < n; ++i) columns.push_back(at(first + i, sequence));
  columns.insert(columns.end(), n_padding, kInactive);
  return columns;
}

std::vector<Case> prefill_cases() {
  return {
      {"from zero", KvType::f16, 256, 2, 1, 64, 0, 1, consecutive(0, 11, 0, 0)},
      {"full, float", KvType::f32, 256, 4, 1, 192, 0, 2, consecutive(120, 9, 2, 1)},
      {"group 1, quantised", KvType::q8_0, 256, 2, 2, 128, 0, 1, consecutive(60, 10, 3, 0)},
      {"window over a wrapped ring", KvType::f16, 256, 4, 2, 128, 80, 2,
       consecutive(1020, 33, 0, 1)},
      {"picture longer than the window", KvType::f16, 256, 4, 2, 128, 20, 1, block(1010, 40)},
      {"picture where all is seen", KvType::f16, 256, 2, 1, 64, 0, 1, block(3, 20)},
  };
}

/// Columns that have no key of their own, as a drafter's. NaN lies at their positions.
std::vector<Case> draft_cases() {
  std::vector<Case> cases = decode_cases();
  const std::vector<Case> ends = {
      {"second position", KvType::f16, 256, 2, 1, 128, 0, 1, {at(1)}},
      {"ends of chunks", KvType::f16, 256, 4, 2, 256, 0, 2, {at(64), at(128, 1)}},
      {"ends of chunks, window", KvType::f16, 256, 4, 2, 128, 70, 2, {at(64), at(128, 1)}},
      {"window of one", KvType::f16, 256, 2, 1, 128, 1, 2, {at(100), at(64, 1)}}};
  cases.insert(cases.end(), ends.begin(), ends.end());
  for (Case& c : cases) {
    c.own_key = OwnKey::hidden;
    // The first column of a sequence alone: the next one would give its position a key.
    std::vector<Column> firsts;
    for (const Column& column : c.columns) {
      const auto same = [&](const Column& other) { return other.sequence == column.sequence; };
      if (std::none_of(firsts.begin(), firsts.end(), same)) firsts.push_back(column);
    }
    c.columns = firsts;
  }
  return cases;
}

/// The cases without a window, over tables of segments: several, a short last one, one that is
/// longer than the cache.
std::vector<Case> in_segments(const std::vector<Case>& cases) {
  std::vector<Case> result;
  for (Case c : cases) {
    if (c.window != 0) continue;
    for (const uint32_t segment_rows : {64u, 128u, 4096u}) {
      c.segment_rows = segment_rows;
      result.push_back(c);
    }
  }
  return result;
}

/// Queries whose scores have a standard deviation of about 2, so that several keys matter.
std::vector<float> make_queries(const Case& c) {
  std::mt19937 engine(11);
  std::vector<float> q(c.columns.size() * c.n_heads * c.head_dim);
  const float scale = 2.0f / std::sqrt(static_cast<float>(c.head_dim));
  for (float& value : q) {
    value = (static_cast<float>(engine() >> 8) * 0x1p-23f - 1.0f) * 1.7320508f * scale;
  }
  return q;
}

/// Sum and bound of one output head.
struct Expected {
  std::vector<double> value;
  std::vector<double> tolerance;
};

/// Softmax in double precision over the decoded cache. `n_forgotten` leaves out the oldest keys.
Expected expected_head(const Case& c, const HostCache& k, const HostCache& v, const float* q,
                       const Column& column, uint32_t kv_head, uint32_t n_forgotten = 0) {
  const uint32_t first = c.first_key(column) + n_forgotten;
  const uint32_t n_keys = c.end_key(column) - first;
  std::vector<double> scores(n_keys), bounds(n_keys);
  double q_norm = 0;
  for (uint32_t i = 0; i < c.head_dim; ++i) q_norm += double{q[i]} * q[i];
  double peak = -1e300;
  for (uint32_t j = 0; j < n_keys; ++j) {
    double k_norm = 0;
    for (uint32_t i = 0; i < c.head_dim; ++i) {
      const double key = k.get(column.sequence, first + j, kv_head, i);
      scores[j] += q[i] * key;
      k_norm += key * key;
    }
    // A dot product in float32 by any order: sqrt(d) roundings of the norms' product.
    bounds[j] = std::sqrt(q_norm * k_norm) * (4 + std::sqrt(c.head_dim)) * 0x1p-24;
    peak = std::max(peak, scores[j]);
  }
  double total = 0;
  for (double score : scores) total += std::exp(score - peak);
  Expected result{std::vector<double>(c.head_dim), std::vector<double>(c.head_dim)};
  for (uint32_t j = 0; j < n_keys; ++j) {
    const double weight = std::exp(scores[j] - peak) / total;
    // Vulkan's bound for exp is 3 + 2 |x| units; twice, as the running maximum rescales; then the
    // sums over keys. Numerator and denominator each carry the error.
    const double error = 2 * (bounds[j] + 2 * (3 + 2 * (peak - scores[j])) * 0x1p-23 +
                              (4 + std::sqrt(n_keys)) * 0x1p-24);
    for (uint32_t i = 0; i < c.head_dim; ++i) {
      const double term = weight * v.get(column.sequence, first + j, kv_head, i);
      result.value[i] += term;
      result.tolerance[i] += std::abs(term) * error;
    }
  }
  return result;
}

class AttentionTest : public testing::GpuTest {
 protected:
  struct Caches {
    KvCacheView view;
    HostCache k, v;
  };

  /// Random rows wherever a column of the case looks; NaN everywhere else.
  static Caches make_caches(const Case& c) {
    const KvCacheView view{.type = c.type,
                           .n_kv_heads = c.n_kv_heads,
                           .head_dim = c.head_dim,
                           .n_rows = c.n_rows,
                           .n_sequences = c.n_sequences,
                           .window = c.window,
                           .segment_rows = c.segment_rows};
    Caches caches{view, HostCache(view), HostCache(view)};
    for (const Column& column : c.columns) {
      if (column.is_active == 0) continue;
      for (uint32_t j = c.first_key(column); j < c.end_key(column); ++j) {
        for (uint32_t head = 0; head < c.n_kv_heads; ++head) {
          const uint32_t seed = (j * 16 + head) * 16 + column.sequence * 2;
          caches.k.set(column.sequence, j, head, random_values(c.head_dim, seed).data());
          caches.v.set(column.sequence, j, head, random_values(c.head_dim, seed + 1).data());
        }
      }
    }
    return caches;
  }

  std::vector<float> compute(const Case& c, const Caches& caches,
                             const graph::VariantPolicy* policy, size_t first, size_t n) {
    const uint64_t width = uint64_t{c.n_heads} * c.head_dim;
    const std::vector<float> all = make_queries(c);
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * width);
    KvCacheView view = caches.view;
    view.k = upload_cache(c, caches.k);
    view.v = upload_cache(c, caches.v);
    const Tensor out = poisoned(DType::f32, Shape{n, width});
    Graph graph(caps_, policy);
    add_attention(graph,
                  upload(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n * width)),
                         Shape{n, width}),
                  upload(column_words(c.columns, first, n), Shape{n, 4}), view, out, c.n_heads,
                  "attention", c.own_key);
    n_nodes_ = graph.nodes().size();
    run(graph);
    return download(out);
  }

  /// The rows, or a table of segments, of which those that no column sees are not there.
  Tensor upload_cache(const Case& c, const HostCache& cache) {
    if (c.segment_rows == 0) {
      Tensor rows = upload_wide(cache.bytes().data(), cache.bytes().size());
      rows.shape = kv_shape(cache.view());
      return rows;
    }
    std::vector<Tensor> segments;
    for (const std::span<const uint8_t> segment : cut_segments(cache, c.segment_rows)) {
      const bool seen =
          std::any_of(segment.begin(), segment.end(), [](uint8_t b) { return b != 0xff; });
      segments.push_back(seen ? upload_wide(segment.data(), segment.size()) : Tensor{});
    }
    return upload_addresses(segments);
  }

  static void expect_result(const Case& c, const Caches& caches, const std::vector<float>& out) {
    const std::vector<float> q = make_queries(c);
    for (size_t row = 0; row < c.columns.size() * c.n_heads; ++row) {
      const Column& column = c.columns[row / c.n_heads];
      const auto head = static_cast<uint32_t>(row % c.n_heads);
      const size_t base = row * c.head_dim;
      if (column.is_active == 0 || c.first_key(column) >= c.end_key(column)) {
        for (uint32_t i = 0; i < c.head_dim; ++i) ASSERT_EQ(out[base + i], 0.0f) << row;
        continue;
      }
      const Expected expected =
          expected_head(c, caches.k, caches.v, &q[base], column, head / (c.n_heads / c.n_kv_heads));
      for (uint32_t i = 0; i < c.head_dim; ++i) {
        ASSERT_NEAR(out[base + i], expected.value[i], expected.tolerance[i])
            << "column " << row / c.n_heads << " head " << head << " element " << i;
      }
    }
  }

  size_t n_nodes_ = 0;
};

TEST_F(AttentionTest, DecodeInOnePassMatchesDoublePrecision) {
  caps_.n_compute_units = 0;  // nothing to gain from splits
  for_each_variant(kAttention, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : decode_cases()) {
      if (c.head_dim != 256) continue;  // the sums are those of the next test, stored elsewhere
      SCOPED_TRACE(c.name);
      const Caches caches = make_caches(c);
      const auto out = compute(c, caches, &policy, 0, c.columns.size());
      ASSERT_EQ(n_nodes_, 1u);
      expect_result(c, caches, out);
    }
  });
}

TEST_F(AttentionTest, DecodeInSplitsMatchesDoublePrecision) {
  caps_.n_compute_units = 3;  // 12 workgroups wanted
  for_each_variant(kAttentionMerged, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : decode_cases()) {
      SCOPED_TRACE(c.name);
      const Caches caches = make_caches(c);
      const auto out = compute(c, caches, &policy, 0, c.columns.size());
      ASSERT_EQ(n_nodes_, 1u);
      expect_result(c, caches, out);
    }
  });
}

/// Whoever is the last adds the splits in their order, every time.
TEST_F(AttentionTest, MergedSplitsAreThoseOfTheTwoKernels) {
  caps_.n_compute_units = 32;  // a split for each chunk
  for (const auto& [merged, split] : {std::pair{&kAttentionMerged, &kAttentionSplit},
                                      std::pair{&kAttentionMergedTable, &kAttentionSplitTable}}) {
    std::vector<std::vector<float>> expected;  // by variant
    for (const graph::KernelDesc* kernel : {split, merged}) {
      size_t variant = 0;
      for_each_variant(*kernel, [&](const graph::VariantPolicy& policy) {
        const bool table = kernel->name.ends_with("_table");
        const Case c{
            "eight chunks",   KvType::f16, 256, 4, 2, 512, 0, 1, {at(500), at(70), kInactive},
            table ? 128u : 0u};
        const Caches caches = make_caches(c);
        const auto out = compute(c, caches, &policy, 0, c.columns.size());
        EXPECT_EQ(n_nodes_, kernel == split ? 2u : 1u);
        if (kernel == split) {
          expect_result(c, caches, out);
          expected.push_back(out);
          return;
        }
        for (int i = 0; i < 8; ++i) {
          ASSERT_EQ(i == 0 ? out : compute(c, caches, &policy, 0, c.columns.size()),
                    expected[variant]);
        }
        ++variant;
      });
    }
  }
}

/// A replay starts from counters that its nodes and the replay before it have used.
TEST_F(AttentionTest, CountersServeEveryNode) {
  caps_.n_compute_units = 32;
  const Case c{"four chunks", KvType::f16, 256, 4, 2, 256, 0, 1, {at(200), at(255)}};
  const Caches caches = make_caches(c);
  KvCacheView view = caches.view;
  view.k = upload_cache(c, caches.k);
  view.v = upload_cache(c, caches.v);
  const Shape shape{c.columns.size(), uint64_t{c.n_heads} * c.head_dim};
  const Tensor q = upload(make_queries(c), shape);
  const Tensor columns = upload(column_words(c.columns, 0, c.columns.size()), Shape{2, 4});
  Graph graph(caps_);
  std::vector<Tensor> outs;
  for (const uint64_t n : {2u, 1u, 2u, 2u}) {
    outs.push_back(poisoned(DType::f32, Shape{n, shape[1]}));
    add_attention(graph, q.rows(0, n), columns.rows(0, n), view, outs.back(), c.n_heads,
                  "attention");
  }
  ASSERT_EQ(graph.nodes().size(), outs.size());
  run(graph);
  const auto first = download(outs[0]);
  expect_result(c, caches, first);
  for (const Tensor& out : outs) {
    const auto values = download(out);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), first.begin()));
  }
}

TEST_F(AttentionTest, DraftsDoNotSeeTheirOwnPosition) {
  const auto expect_all = [&](const graph::KernelDesc& kernel, const std::vector<Case>& cases) {
    for_each_variant(kernel, [&](const graph::VariantPolicy& policy) {
      for (const Case& c : cases) {
        SCOPED_TRACE(c.name);
        const Caches caches = make_caches(c);
        expect_result(c, caches, compute(c, caches, &policy, 0, c.columns.size()));
      }
    });
  };
  std::vector<Case> cases = draft_cases();
  std::erase_if(cases, [](const Case& c) { return c.head_dim != 256; });
  const auto full = std::find_if(cases.begin(), cases.end(), [](const Case& c) {
    return std::string_view(c.name) == "ends of chunks";
  });
  caps_.n_compute_units = 0;
  expect_all(kAttention, cases);
  expect_all(kAttentionTable, in_segments({*full}));
  caps_.n_compute_units = 3;
  expect_all(kAttentionMerged, draft_cases());
  expect_all(kAttentionMergedTable, in_segments({*full}));
}

TEST_F(AttentionTest, PrefillMatchesDoublePrecision) {
  for_each_variant(kAttentionPrefill, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : prefill_cases()) {
      SCOPED_TRACE(c.name);
      const Caches caches = make_caches(c);
      expect_result(c, caches, compute(c, caches, &policy, 0, c.columns.size()));
    }
  });
}

/// What a lane holds and how many keys are on their way is no matter of the result.
TEST_F(AttentionTest, FewRegistersChangeNoBit) {
  const Case cases[] = {
      {"heads of 256", KvType::f16, 256, 4, 2, 128, 80, 1, consecutive(1020, 17, 1, 0)},
      {"heads of 512", KvType::q8_0, 512, 4, 1, 128, 70, 1, consecutive(100, 11, 0, 0)},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Caches caches = make_caches(c);
    const auto n = static_cast<uint32_t>(c.columns.size());
    caps_.is_cpu = true;  // whose compilers hold everything
    const AttentionTiling all = pick_attention_tiling(caps_, caches.view, c.n_heads, n);
    EXPECT_TRUE(all.holds_queries);
    EXPECT_EQ(all.n_keys, 4u);
    const auto expected = compute(c, caches, nullptr, 0, n);
    expect_result(c, caches, expected);

    caps_.is_cpu = false;
    caps_.register_words = 64;
    caps_.min_subgroup_size = caps_.subgroup_size;  // other lanes would add in another order
    const AttentionTiling few = pick_attention_tiling(caps_, caches.view, c.n_heads, n);
    EXPECT_FALSE(few.holds_queries);
    EXPECT_EQ(few.n_keys, 1u);
    EXPECT_EQ(few.n_lanes, all.n_lanes);
    EXPECT_EQ(compute(c, caches, nullptr, 0, n), expected);
  }
}

TEST_F(AttentionTest, SegmentsMatchDoublePrecision) {
  const auto expect_all = [&](const graph::KernelDesc& kernel, const std::vector<Case>& cases) {
    for_each_variant(kernel, [&](const graph::VariantPolicy& policy) {
      for (const Case& c : cases) {
        SCOPED_TRACE(std::string(c.name) + " in " + std::to_string(c.segment_rows));
        const Caches caches = make_caches(c);
        expect_result(c, caches, compute(c, caches, &policy, 0, c.columns.size()));
      }
    });
  };
  caps_.n_compute_units = 0;
  expect_all(kAttentionTable, in_segments({decode_cases()[1]}));
  caps_.n_compute_units = 3;
  expect_all(kAttentionMergedTable, in_segments(decode_cases()));
  expect_all(kAttentionPrefillTable, in_segments(prefill_cases()));
}

/// Two sequences with a short last segment each.
TEST_F(AttentionTest, SequencesHaveSegmentsOfTheirOwn) {
  const Case c{"two", KvType::f16, 256, 2, 1, 192, 0, 2, {at(150, 1), at(140, 0), at(63, 1)}, 128};
  caps_.n_compute_units = 3;
  for_each_variant(kAttentionMergedTable, [&](const graph::VariantPolicy& policy) {
    const Caches caches = make_caches(c);
    expect_result(c, caches, compute(c, caches, &policy, 0, c.columns.size()));
  });
}

TEST_F(AttentionTest, ColumnsDoNotDependOnTheirNumber) {
  caps_.n_compute_units = 3;
  for (const graph::KernelDesc* kernel :
       {&kAttention, &kAttentionMerged, &kAttentionTable, &kAttentionMergedTable}) {
    for_each_variant(*kernel, [&](const graph::VariantPolicy& policy) {
      const bool splits = kernel == &kAttentionMerged || kernel == &kAttentionMergedTable;
      const bool table = kernel == &kAttentionTable || kernel == &kAttentionMergedTable;
      caps_.n_compute_units = splits ? 3 : 0;
      Case c{"eight", KvType::f16, 256, 4, 2, 192, table ? 0u : 100u, 2, {}, table ? 64u : 0u};
      for (uint32_t i = 0; i < 5; ++i) c.columns.push_back(at((table ? 125 : 1000) + i, 1));
      for (uint32_t i = 0; i < 3; ++i) c.columns.push_back(at(62 + i, 0));
      const Caches caches = make_caches(c);
      const auto together = compute(c, caches, &policy, 0, 8);
      const size_t width = size_t{c.n_heads} * c.head_dim;
      for (size_t column = 0; column < 8; ++column) {
        const auto alone = compute(c, caches, &policy, column, 1);
        for (size_t i = 0; i < width; ++i) ASSERT_EQ(alone[i], together[column * width + i]);
      }
    });
  }
}

/// The tolerance must see one key more or less in the window, the other KV head, and K for V.
TEST_F(AttentionTest, TheToleranceSeesMutations) {
  const Case c{"mutated", KvType::f16, 256, 2, 2, 128, 100, 1, {at(110)}};
  const Caches caches = make_caches(c);
  const std::vector<float> q = make_queries(c);
  const Expected right = expected_head(c, caches.k, caches.v, q.data(), c.columns[0], 0);
  const Expected wrong[] = {
      expected_head(c, caches.k, caches.v, q.data(), c.columns[0], 0, 1),
      expected_head(c, caches.k, caches.v, q.data(), c.columns[0], 1),
      expected_head(c, caches.k, caches.k, q.data(), c.columns[0], 0),
      expected_head(c, caches.v, caches.v, q.data(), c.columns[0], 0),
  };
  for (const Expected& other : wrong) {
    double worst = 0;
    for (uint32_t i = 0; i < c.head_dim; ++i) {
      worst = std::max(worst, std::abs(other.value[i] - right.value[i]) / right.tolerance[i]);
    }
    EXPECT_GT(worst, 10);
  }
}

TEST(KvLayout, RowsFitOneWideBinding) {
  vk::Caps caps;
  caps.wide_load = vk::WideLoad::storage;
  caps.max_storage_range_bytes = 128ull << 20;
  EXPECT_EQ(kv_row_bytes(KvType::f16, 8, 256), 4096u);
  EXPECT_EQ(kv_max_rows(caps, KvType::f16, 8, 256), 32768u);
  EXPECT_EQ(kv_row_bytes(KvType::q8_0, 1, 512), 544u);
  EXPECT_EQ(kv_max_rows(caps, KvType::q8_0, 1, 512), (128u << 20) / 544 / 64 * 64);
  caps.subgroup_size = 8;
  caps.max_loop_rounds = 65535;
  EXPECT_EQ(kv_max_rows(caps, KvType::f16, 8, 256), 32768u);
  EXPECT_EQ(kv_max_rows(caps, KvType::q8_0, 1, 256), (65534u - 4 * 8 * 19 - 1) / 10 * 64);
}

}  // namespace
}  // namespace kimberlite::kernels
