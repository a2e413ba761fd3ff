#include "kernels/experts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/linear_support.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

struct Routed {
  std::vector<uint32_t> experts;
  std::vector<float> weights;
  std::vector<uint32_t> tiles;  // [n_tiles][expert, first, count]
  std::vector<uint32_t> slots;
};

class ExpertsTest : public LinearTest {
 protected:
  /// Routes in a graph of its own; the products of a test take the result as inputs.
  Routed route(const std::vector<float>& scores, uint64_t n, const std::vector<float>& scale,
               const ExpertUse& use) {
    Graph graph(caps_);
    const ExpertRouting routing = add_expert_routing(
        graph, upload(scores, Shape{n, scale.size()}),
        has_scale_ ? upload(scale, Shape{scale.size()}) : Tensor{}, use, "experts");
    // The executable's scratch is not readable: replay the nodes onto tensors of our own.
    const auto own = [&](const Tensor& tensor) {
      const Tensor copy = poisoned(tensor.dtype, tensor.shape);
      copies_.push_back({tensor.transient, copy});
      return copy;
    };
    copies_.clear();
    const Tensor experts = own(routing.experts), weights = own(routing.weights);
    const Tensor tiles = own(routing.tiles.tiles), slots = own(routing.tiles.slots);
    Graph readable(caps_);
    for (graph::Node node : graph.nodes()) {
      for (Tensor& tensor : node.tensors) {
        for (const auto& [transient, copy] : copies_) {
          if (tensor.transient == transient) tensor = copy;
        }
      }
      readable.add(std::move(node));
    }
    run(readable);
    tiling_ = routing.tiles.tiling;
    return {download_u32(experts), download(weights), download_u32(tiles), download_u32(slots)};
  }

  void compare_products(const MatrixKind& kind);

  struct Copy {
    uint32_t transient;
    Tensor tensor;
  };
  std::vector<Copy> copies_;
  ExpertTiling tiling_;
  bool has_scale_ = true;
};

TEST_F(ExpertsTest, TakesTheBestAndWeighsThem) {
  for (const auto& [n, n_experts, n_used] :
       {std::array{1u, 4u, 1u}, std::array{3u, 7u, 7u}, std::array{8u, 128u, 8u},
        std::array{17u, 48u, 4u}, std::array{1u, 2048u, 32u}}) {
    SCOPED_TRACE(n_experts);
    const auto scores = random_values(uint64_t{n} * n_experts, n_experts, 2.0f);
    const auto scale = random_values(n_experts, 7);
    const Routed routed = route(scores, n, scale, {n_used, {}});
    for (uint32_t column = 0; column < n; ++column) {
      const float* s = &scores[uint64_t{column} * n_experts];
      std::vector<uint32_t> order(n_experts);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return s[a] > s[b]; });
      double sum = 0;
      for (uint32_t j = 0; j < n_used; ++j) sum += std::exp(double{s[order[j]]});
      for (uint32_t j = 0; j < n_used; ++j) {
        const uint32_t slot = column * n_used + j;
        ASSERT_EQ(routed.experts[slot], order[j]) << column << " " << j;
        const double expected = std::exp(double{s[order[j]]}) / sum * scale[order[j]];
        // Two ulp of each exp, half of each sum, product and quotient (2.5 ulp).
        const double bound = std::abs(expected) * (8 + n_used) * 0x1p-24;
        ASSERT_NEAR(routed.weights[slot], expected, bound) << column << " " << j;
      }
    }
  }
}

TEST_F(ExpertsTest, WithoutScalesTheWeightsAreShares) {
  const auto scores = random_values(64, 3, 2.0f);
  const Routed ones = route(scores, 1, std::vector<float>(64, 1.0f), {5, {}});
  has_scale_ = false;
  const Routed none = route(scores, 1, std::vector<float>(64, 1.0f), {5, {}});
  EXPECT_EQ(none.experts, ones.experts);
  EXPECT_EQ(none.weights, ones.weights);
}

TEST_F(ExpertsTest, TiesGoToTheLowerExpertAndNaNComesLast) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> scores{1,    3,    kNaN, 3,    1,    -kInf, 3,    0,  //
                                  kNaN, kNaN, kNaN, kNaN, kNaN, kNaN,  kNaN, kNaN};
  const Routed routed = route(scores, 2, std::vector<float>(8, 1.0f), {6, {}});
  const std::vector<uint32_t> expected{1, 3, 6, 0, 4, 7, 0, 1, 2, 3, 4, 5};
  EXPECT_EQ(routed.experts, expected);
  for (const float weight : routed.weights) EXPECT_TRUE(weight >= 0 && weight <= 1) << weight;
}

TEST_F(ExpertsTest, TilesHoldEverySlotOnce) {
  for (const uint32_t n : {1u, 8u, 9u, 64u}) {
    SCOPED_TRACE(n);
    constexpr uint32_t kExperts = 40, kUsed = 3;
    auto scores = random_values(uint64_t{n} * kExperts, n, 2.0f);
    // Unequal loads: most columns want expert 5, none wants expert 9.
    for (uint32_t i = 0; i < n; ++i) {
      if (i % 4 != 3) scores[uint64_t{i} * kExperts + 5] = 50;
      scores[uint64_t{i} * kExperts + 9] = -50;
    }
    const Routed routed = route(scores, n, std::vector<float>(kExperts, 1.0f), {kUsed, {}});
    std::vector<uint32_t> seen(uint64_t{n} * kUsed);
    for (size_t i = 0; i < routed.tiles.size(); i += 3) {
      const uint32_t expert = routed.tiles[i], first = routed.tiles[i + 1];
      const uint32_t count = routed.tiles[i + 2];
      ASSERT_LE(count, tiling_.columns);
      for (uint32_t j = 0; j < count; ++j) {
        const uint32_t slot = routed.slots[first + j];
        ASSERT_LT(slot, seen.size());
        EXPECT_EQ(routed.experts[slot], expert);
        ++seen[slot];
      }
    }
    EXPECT_EQ(seen, std::vector<uint32_t>(seen.size(), 1));
    EXPECT_EQ(tiling_.columns > 1, n > 8);
  }
}

/// The product of a slot is that of its expert's rows alone, bit for bit, also where the experts
/// are spread over several shards.
void ExpertsTest::compare_products(const MatrixKind& kind) {
  constexpr uint64_t kExperts = 6, kRows = 128, kWidth = 512;
  constexpr uint32_t kUsed = 2;
  SCOPED_TRACE(std::string(formats::traits(kind.type).name));
  const vk::Caps caps = caps_;
  const auto all = random_rows(kind.type, kExperts * kRows, kWidth, 3);
  const uint64_t expert_bytes = all.size() / kExperts;
  for (const uint64_t n : {1u, 3u, 16u, 70u}) {
    caps_ = caps;
    if (n == 3) {  // two experts and a half in each shard: an expert has two panels
      const PackedLayout layout =
          plan_packed(kind.type, kExperts * kRows, kWidth, caps_, kind.linear_class);
      caps_.max_storage_range_bytes = 5 * layout.codes_panel_bytes;
      caps_.max_texel_elements = caps_.max_storage_range_bytes / 16;
    }
    const auto scores = random_values(n * kExperts, 4);
    const PackedMatrix w = pack(kind.type, kExperts * kRows, kWidth, all, kind.linear_class);
    const Routed routed = route(scores, n, std::vector<float>(kExperts, 1.0f), {kUsed, {&w}});
    const graph::Variant& best = Graph(caps_).pick(matmul_kernel(kind.type, kind.linear_class));
    EXPECT_EQ(tiling_.by_matrices, n > kMaxColumns && best.name == "split_matrix");
    std::vector<PackedMatrix> experts;
    for (uint64_t e = 0; e < kExperts; ++e) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(e * expert_bytes);
      const std::vector<std::byte> rows(begin, begin + static_cast<std::ptrdiff_t>(expert_bytes));
      experts.push_back(pack(kind.type, kRows, kWidth, rows, kind.linear_class));
    }
    Graph graph(caps_);
    const Tensor x = upload(random_values(n * kWidth, 5), Shape{n, kWidth});
    const auto operand = [&](uint64_t first, uint64_t count) {
      const Tensor rows = x.rows(first, count);
      return kind.linear_class == LinearClass::f32
                 ? rows
                 : add_quant_act(graph, rows, kind.linear_class, "x_q");
    };
    const ExpertTiles tiles{upload(routed.tiles, Shape{routed.tiles.size() / 3, 3}),
                            upload(routed.slots, Shape{routed.slots.size()}), tiling_};
    const Tensor together = poisoned(DType::f32, Shape{n * kUsed, kRows});
    const Tensor alone = poisoned(DType::f32, Shape{n * kUsed, kRows});
    add_expert_product(graph, w, kRows, operand(0, n), tiles, together, "experts");
    for (uint32_t slot = 0; slot < n * kUsed; ++slot) {
      add_matvec(graph, experts[routed.experts[slot]], operand(slot / kUsed, 1),
                 alone.rows(slot, 1), "alone");
    }
    run(graph);
    const auto values = download(together), expected = download(alone);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], expected[i]) << n << " " << i / kRows << " " << i % kRows;
    }
  }
  caps_ = caps;
}

TEST_F(ExpertsTest, AProductIsThatOfTheExpertAlone) {
  for (const MatrixKind& kind : matrix_kinds()) {
    // One of the types that share a module stands for them: which rows are read is the same.
    if (find_coded_format(kind.type, kind.linear_class) && kind.type != GgmlType::q5_k) continue;
    compare_products(kind);
  }
}

TEST_F(ExpertsTest, SplitProductsTooAreThoseOfTheExpertAlone) {
  caps_.is_cpu = false;  // the variants of GPUs
  for (const MatrixKind& kind : matrix_kinds()) {
    if (kind.type == GgmlType::q4_0 || kind.type == GgmlType::f32) compare_products(kind);
  }
}

// A tile is for every matrix of a layer's experts, whose types differ.
TEST_F(ExpertsTest, TilesAreOfMatricesWhereAllProductsAre) {
  caps_.is_cpu = false;
  caps_.has_int8_dot = true;
  caps_.int8_matrix = {16, 16, 16};
  caps_.matrix_columns = caps_.matrix_subgroup_size = 32;
  caps_.max_shared_bytes = 65536;
  const Graph graph(caps_);
  const PackedMatrix by_matrices{GgmlType::q4_0, LinearClass::int8_dot, 64, 64, 2, {}};
  const PackedMatrix also{GgmlType::q6_k, LinearClass::int8_dot, 64, 256, 1, {}};
  const PackedMatrix floats{GgmlType::f16, LinearClass::f32, 64, 64, 2, {}};
  const PackedMatrix none{};
  for (const auto& [share, columns] : {std::array{1u, 16u}, {10u, 16u}, {12u, 32u}, {100u, 32u}}) {
    const ExpertTiling tiling = pick_expert_tiling(graph, {&by_matrices, &none, &also}, share);
    EXPECT_TRUE(tiling.by_matrices);
    EXPECT_EQ(tiling.columns, columns) << share;
  }
  for (const ExpertMatrices& matrices :
       {ExpertMatrices{&by_matrices, &floats}, {&floats}, {&none}, {}}) {
    const ExpertTiling tiling = pick_expert_tiling(graph, matrices, 20);
    EXPECT_FALSE(tiling.by_matrices);
    EXPECT_LE(tiling.columns, kMaxColumns);
  }
}

TEST_F(ExpertsTest, ProductsByMatricesTooAreThoseOfTheExpertAlone) {
  if (caps_.int8_matrix.m == 0) GTEST_SKIP() << "no cooperative matrices of int8";
  caps_.is_cpu = false;
  caps_.has_int8_dot = true;
  caps_.matrix_columns = 2 * caps_.int8_matrix.n;
  caps_.max_workgroup_size = 128;  // few enough parts of K for a CPU driver's shared memory
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q4_k, GgmlType::q6_k}) {
    compare_products({type, LinearClass::int8_dot});
    EXPECT_TRUE(tiling_.by_matrices);
    EXPECT_GT(tiling_.columns, caps_.int8_matrix.n);
  }
}

}  // namespace
}  // namespace kimberlite::kernels
