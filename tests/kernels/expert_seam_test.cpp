#include "kernels/expert_seam.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/linear_support.hpp"
#include "kernels/matvec.hpp"
#include "kernels/reference.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

struct Case {
  uint64_t n;
  uint64_t n_experts;
  uint32_t n_used;
  uint64_t width;
};
/// One workgroup and many, panels and parts of them, rows of few steps and of odd ones.
constexpr Case kCases[] = {
    {1, 4, 1, 32}, {3, 7, 7, 1056}, {8, 128, 8, 704}, {2, 70, 3, 2816}, {1, 2048, 32, 64}};
constexpr float kEps = 1e-6f;
constexpr float kScale = 0.53f;

struct Result {
  std::vector<float> x, y, experts_y, weights;
  std::vector<uint32_t> experts, tiles, slots;
  bool operator==(const Result&) const = default;
};

class ExpertSeamTest : public LinearTest {
 protected:
  /// What every seam of a case starts from.
  struct Inputs {
    std::vector<float> delta, x, post, next, router_norm, experts_norm, scale;
    std::vector<std::byte> router;
  };
  static Inputs make_inputs(const Case& c) {
    return {random_values(c.n * c.width, 1, 0.7f),
            random_values(c.n * c.width, 2, 3.0f),
            random_values(c.width, 3),
            random_values(c.width, 4),
            random_values(c.width, 5, 0.3f),
            random_values(c.width, 6),
            random_values(c.n_experts, 7),
            random_rows(GgmlType::f32, c.n_experts, c.width, 8)};
  }

  /// The columns first .. first + n - 1.
  Result compute(const Case& c, const graph::VariantPolicy* policy, uint64_t first, uint64_t n) {
    const Inputs in = make_inputs(c);
    const Shape shape{n, c.width};
    const auto rows = [&](const std::vector<float>& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * c.width);
      const auto end = begin + static_cast<std::ptrdiff_t>(n * c.width);
      return upload(std::vector<float>(begin, end), shape);
    };
    const auto norm = [&](const std::vector<float>& all) { return upload(all, Shape{c.width}); };
    const ResidualNorm seam{.delta = rows(in.delta),
                            .post = norm(in.post),
                            .x = rows(in.x),
                            .next = norm(in.next),
                            .y = poisoned(DType::f32, shape),
                            .scale = kScale,
                            .eps = kEps};
    const Tensor experts_y = poisoned(DType::f32, shape);
    const Tensor weights = poisoned(DType::f32, Shape{n * c.n_used});
    const PackedMatrix router = pack(GgmlType::f32, c.n_experts, c.width, in.router);
    const Tensor scale = upload(in.scale, Shape{c.n_experts});
    Graph graph(caps_, policy);
    const ExpertRouting routing =
        add_expert_seam(graph, seam, norm(in.experts_norm), experts_y,
                        {norm(in.router_norm), router, scale, {c.n_used, {}}}, weights, "experts");
    n_nodes_ = graph.nodes().size();
    Result result;
    run_readable(graph, routing, result);
    result.x = download(seam.x);
    result.y = download(seam.y.f32);
    result.experts_y = download(experts_y);
    result.weights = download(weights);
    return result;
  }

  /// Runs the graph with the temporaries of the routing in tensors that can be read.
  void run_readable(const Graph& graph, const ExpertRouting& routing, Result& result) {
    const std::array kept{routing.experts, routing.tiles.tiles, routing.tiles.slots};
    std::vector<Tensor> copies;
    for (const Tensor& tensor : kept) copies.push_back(poisoned(tensor.dtype, tensor.shape));
    Graph readable(caps_);
    for (const graph::Transient& transient : graph.transients()) {
      if (transient.zeroed) {
        readable.counters(transient.n_bytes / 4);
      } else {
        readable.transient(transient.name, DType::u32, Shape{transient.n_bytes / 4});
      }
    }
    for (graph::Node node : graph.nodes()) {
      for (Tensor& tensor : node.tensors) {
        for (size_t i = 0; i < kept.size(); ++i) {
          if (tensor.transient == kept[i].transient) tensor = copies[i];
        }
      }
      readable.add(std::move(node));
    }
    run(readable);
    result.experts = download_u32(copies[0]);
    result.tiles = download_u32(copies[1]);
    result.slots = download_u32(copies[2]);
  }

  static void expect_rows(const reference::Expected& expected, const std::vector<float>& got) {
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], expected.values[i], expected.bounds[i]) << i;
    }
  }

  static void expect_result(const Case& c, const Result& result);

  size_t n_nodes_ = 0;
};

void ExpertSeamTest::expect_result(const Case& c, const Result& result) {
  const Inputs in = make_inputs(c);
  const auto normed = [&](const std::vector<float>& norm) {
    return reference::residual_norm({in.delta, in.post, in.x, norm, kScale, kEps});
  };
  expect_rows(normed(in.next).x, result.x);
  expect_rows(normed(in.next).y, result.y);
  expect_rows(normed(in.experts_norm).y, result.experts_y);
  const reference::Expected rows = normed(in.router_norm).y;
  const std::vector<float> router = decode_rows(GgmlType::f32, in.router, c.n_experts, c.width);
  for (uint64_t column = 0; column < c.n; ++column) {
    std::vector<double> scores(c.n_experts);
    double error = 0;
    for (uint64_t e = 0; e < c.n_experts; ++e) {
      double bound = 0;
      for (uint64_t k = 0; k < c.width; ++k) {
        const double w = router[e * c.width + k];
        const double value = rows.values[column * c.width + k];
        scores[e] += w * value;
        bound += std::abs(w) * (rows.bounds[column * c.width + k] +
                                std::abs(value) * std::sqrt(c.width) * 0x1p-24);
      }
      error = std::max(error, bound);
    }
    std::vector<uint32_t> order(c.n_experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return scores[a] > scores[b]; });
    double sum = 0;
    for (uint32_t j = 0; j < c.n_used; ++j) sum += std::exp(scores[order[j]] - scores[order[0]]);
    for (uint32_t j = 0; j < c.n_used; ++j) {
      const uint64_t slot = column * c.n_used + j;
      ASSERT_EQ(result.experts[slot], order[j]) << column << " " << j;
      ASSERT_EQ(result.tiles[slot * 3], order[j]);
      ASSERT_EQ(result.tiles[slot * 3 + 1], slot);
      ASSERT_EQ(result.tiles[slot * 3 + 2], 1u);
      ASSERT_EQ(result.slots[slot], slot);
      const double share = std::exp(scores[order[j]] - scores[order[0]]) / sum;
      const double weight = share * in.scale[order[j]];
      const double bound = std::abs(weight) * (2 * error + (8 + c.n_used) * 0x1p-24);
      ASSERT_NEAR(result.weights[slot], weight, bound) << column << " " << j;
    }
  }
}

TEST_F(ExpertSeamTest, MatchesDoublePrecision) {
  for_each_variant(kExpertSeam, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.n_experts);
      const Result result = compute(c, &policy, 0, c.n);
      EXPECT_EQ(n_nodes_, 1u);
      expect_result(c, result);
    }
  });
}

TEST_F(ExpertSeamTest, InSeveralDispatchesItIsTheSame) {
  struct NoSeam : graph::VariantPolicy {
    bool allows(std::string_view kernel, std::string_view) const override {
      return kernel != "expert_seam";
    }
  } no_seam;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.n_experts);
    const Result apart = compute(c, &no_seam, 0, c.n);
    EXPECT_EQ(n_nodes_, 3u);
    expect_result(c, apart);
    // Bit for bit where products have lanes as rows; else they add in another order.
    if (!caps_.is_cpu) continue;
    EXPECT_TRUE(compute(c, nullptr, 0, c.n) == apart);
  }
}

TEST_F(ExpertSeamTest, ColumnsDoNotDependOnTheirNumber) {
  const Case c{8, 70, 4, 288};
  for_each_variant(kExpertSeam, [&](const graph::VariantPolicy& policy) {
    const Result together = compute(c, &policy, 0, c.n);
    for (uint64_t column = 0; column < c.n; ++column) {
      const Result alone = compute(c, &policy, column, 1);
      const auto expect_part = [&](const auto& one, const auto& all) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(column * one.size());
        EXPECT_TRUE(std::equal(one.begin(), one.end(), begin)) << column;
      };
      expect_part(alone.x, together.x);
      expect_part(alone.y, together.y);
      expect_part(alone.experts_y, together.experts_y);
      expect_part(alone.weights, together.weights);
      expect_part(alone.experts, together.experts);
    }
  });
}

/// Who is the last differs from run to run; what it writes does not.
TEST_F(ExpertSeamTest, RunsAgree) {
  const Case c{8, 128, 8, 704};
  for_each_variant(kExpertSeam, [&](const graph::VariantPolicy& policy) {
    const Result first = compute(c, &policy, 0, c.n);
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(compute(c, &policy, 0, c.n) == first);
  });
}

}  // namespace
}  // namespace kimberlite::kernels
