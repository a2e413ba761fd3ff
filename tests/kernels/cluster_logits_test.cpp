#include "kernels/cluster_logits.hpp"

#include <algorithm>
#include <numeric>

#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

struct Case {
  uint64_t n;
  uint32_t n_clusters;
  uint32_t n_used;
  uint32_t n_tokens;  // of a cluster
  uint32_t n_rows;    // of a cluster, with padding
};

class ClusterLogitsTest : public testing::GpuTest {};

TEST_F(ClusterLogitsTest, EveryTokenHasItsLogitOrTheLowest) {
  const Case cases[] = {{1, 1, 1, 5, 64},  {1, 7, 7, 64, 64},       {3, 47, 5, 11, 64},
                        {2, 9, 2, 59, 64}, {1, 2048, 32, 128, 128}, {1, 3, 2, 4097, 4160}};
  for_each_variant(kClusterLogits, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : cases) {
      SCOPED_TRACE(c.n_clusters);
      const uint32_t n_vocab = c.n_clusters * c.n_tokens;
      std::vector<uint32_t> rows(n_vocab);  // token t is number t * 5 % n_vocab of the sorted ones
      ASSERT_EQ(std::gcd(n_vocab, 5u) == 1 || n_vocab == 5, true);
      for (uint64_t t = 0; t < n_vocab; ++t) {
        const auto place = static_cast<uint32_t>(n_vocab == 5 ? 4 - t : t * 5 % n_vocab);
        rows[t] = place / c.n_tokens * c.n_rows + place % c.n_tokens;
      }
      std::vector<uint32_t> clusters;  // of column i: from the i-th last down
      for (uint32_t i = 0; i < c.n * c.n_used; ++i) {
        const uint32_t j = i / c.n_used + i % c.n_used;
        clusters.push_back((c.n_clusters - 1 + c.n_clusters * c.n_used - j) % c.n_clusters);
      }
      const uint64_t n_slots = c.n * c.n_used;
      const std::vector<float> parts = random_values(n_slots * c.n_rows, 3);
      const Tensor logits = poisoned(DType::f32, Shape{c.n, n_vocab});
      Graph graph(caps_, &policy);
      add_cluster_logits(graph,
                         {.parts = upload(parts, Shape{n_slots, c.n_rows}),
                          .clusters = upload(clusters, Shape{n_slots}),
                          .rows = upload(rows, Shape{n_vocab}),
                          .logits = logits,
                          .n_clusters = c.n_clusters},
                         "logits");
      run(graph);
      const std::vector<float> actual = download(logits);
      for (uint64_t i = 0; i < c.n; ++i) {
        const auto first = clusters.begin() + static_cast<std::ptrdiff_t>(i * c.n_used);
        for (uint32_t t = 0; t < n_vocab; ++t) {
          const auto found = std::find(first, first + c.n_used, rows[t] / c.n_rows);
          const auto slot = static_cast<uint64_t>(found - clusters.begin());
          const float expected =
              found == first + c.n_used ? kNoLogit : parts[slot * c.n_rows + rows[t] % c.n_rows];
          ASSERT_EQ(actual[i * n_vocab + t], expected) << "column " << i << " token " << t;
        }
      }
    }
  });
}

}  // namespace
}  // namespace kimberlite::kernels
