// Products of gate and up in one: the same bits as two products, GEGLU and rounding one by one.
#include <algorithm>

#include "kernels/experts.hpp"
#include "kernels/geglu.hpp"
#include "kernels/linear_support.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr uint64_t kWidth = 96;  // of the result: three blocks
constexpr uint64_t kCols = 512;

/// Rows of gate and up in turn, as Weights packs them.
std::vector<std::byte> interleave(const std::vector<std::byte>& gate,
                                  const std::vector<std::byte>& up, uint64_t n_rows) {
  const auto run = static_cast<std::ptrdiff_t>(gate.size() / n_rows * kGatedRows);
  std::vector<std::byte> both;
  for (uint64_t row = 0; row < n_rows; row += kGatedRows) {
    for (const auto* from : {&gate, &up}) {
      const auto begin = from->begin() + static_cast<std::ptrdiff_t>(row / kGatedRows) * run;
      both.insert(both.end(), begin, begin + run);
    }
  }
  return both;
}

struct Rows {
  std::vector<float> f32;
  std::vector<uint32_t> bytes, words;
  bool operator==(const Rows&) const = default;
};

class GatedTest : public LinearTest {
 protected:
  static Tensor operand(Graph& graph, const Tensor& x, LinearClass linear_class) {
    return linear_class == LinearClass::f32 ? x : add_quant_act(graph, x, linear_class, "x_q");
  }

  /// Runs `add` with rows in float32 and as words at once; with `alone` also in float32 alone and
  /// as bytes alone, each of which is a pipeline.
  Rows compute(uint64_t n, const graph::VariantPolicy* policy, bool alone,
               const std::function<void(Graph&, const ActivationRows&)>& add) {
    Graph graph(caps_, policy);
    const bool rounds = can_round_rows(caps_, kWidth);
    const auto wanted = [&](LinearClass rounding) {
      ActivationRows y;
      y.rounding = rounding;
      y.rounded = poisoned(DType::u32, {n, quantized_width(rounding, kWidth)});
      return y;
    };
    ActivationRows both;
    if (rounds) both = wanted(LinearClass::int8_swar);
    both.f32 = poisoned(DType::f32, Shape{n, kWidth});
    add(graph, both);
    ActivationRows floats, bytes;
    if (alone) {
      floats = poisoned(DType::f32, Shape{n, kWidth});
      add(graph, floats);
      if (rounds) add(graph, bytes = wanted(LinearClass::int8_dot));
    }
    run(graph);
    Rows rows{download(both.f32), {}, {}};
    EXPECT_EQ(download(alone ? floats.f32 : both.f32), rows.f32);
    if (bytes.rounded.valid()) rows.bytes = download_u32(bytes.rounded);
    if (rounds) rows.words = download_u32(both.rounded);
    return rows;
  }

  void compare(const MatrixKind& kind, uint64_t n, const graph::VariantPolicy* policy, bool alone) {
    SCOPED_TRACE(::testing::Message() << formats::traits(kind.type).name << " class "
                                      << static_cast<int>(kind.linear_class) << " n " << n);
    const auto gate_rows = random_rows(kind.type, kWidth, kCols, 1);
    const auto up_rows = random_rows(kind.type, kWidth, kCols, 2);
    const PackedMatrix gate = pack(kind.type, kWidth, kCols, gate_rows, kind.linear_class);
    const PackedMatrix up = pack(kind.type, kWidth, kCols, up_rows, kind.linear_class);
    PackedMatrix both = pack(kind.type, 2 * kWidth, kCols, interleave(gate_rows, up_rows, kWidth),
                             kind.linear_class);
    both.gated = true;
    const Tensor x = upload(random_values(n * kCols, 3), Shape{n, kCols});
    const auto add_product = [&](Graph& graph, const PackedMatrix& w, const ActivationRows& y) {
      const Tensor in = operand(graph, x, kind.linear_class);
      if (n > kMaxColumns) return add_matmul(graph, w, in, y, "product");
      add_matvec(graph, w, in, y, "product");
    };
    const Rows one = compute(n, policy, alone, [&](Graph& graph, const ActivationRows& y) {
      add_product(graph, both, y);
    });
    const Rows steps = compute(n, policy, alone, [&](Graph& graph, const ActivationRows& y) {
      const Tensor a = graph.transient("gate", DType::f32, Shape{n, kWidth});
      const Tensor b = graph.transient("up", DType::f32, Shape{n, kWidth});
      add_product(graph, gate, a);
      add_product(graph, up, b);
      const Tensor f32 =
          y.f32.valid() ? y.f32 : graph.transient("geglu", DType::f32, Shape{n, kWidth});
      add_geglu(graph, a, b, f32, kWidth, "geglu");
      if (y.rounded.valid()) add_quant_act(graph, f32, y.rounded, y.rounding, "round");
    });
    EXPECT_EQ(one.f32, steps.f32);
    EXPECT_EQ(one.bytes, steps.bytes);
    EXPECT_EQ(one.words, steps.words);
    EXPECT_NE(one.f32, std::vector<float>(one.f32.size()));
    EXPECT_EQ(one.words.empty(), !can_round_rows(caps_, kWidth));
    EXPECT_EQ(one.bytes.empty(), !alone || !can_round_rows(caps_, kWidth));
  }
};

TEST_F(GatedTest, OneProductIsTwoAndTheirGate) {
  for (const MatrixKind& kind : matrix_kinds()) {
    // One of the types that share a module stands for them.
    if (find_coded_format(kind.type, kind.linear_class) && kind.type != GgmlType::q5_k) continue;
    compare(kind, 3, nullptr, /*alone=*/false);
  }
}

TEST_F(GatedTest, OfEveryVariantAndNumberOfColumns) {
  caps_.has_int8_dot = true;
  for (const MatrixKind& kind : {MatrixKind{GgmlType::q4_0, LinearClass::f32},
                                 MatrixKind{GgmlType::q4_0, LinearClass::int8_dot},
                                 MatrixKind{GgmlType::q4_0, LinearClass::int8_swar}}) {
    for_each_variant(matvec_kernel(kind.type, kind.linear_class), [&](const auto& policy) {
      for (const uint64_t n : {1u, 5u, 8u}) compare(kind, n, &policy, /*alone=*/n == 8);
    });
    compare(kind, 16, nullptr, /*alone=*/true);
  }
}

/// Gate and up of an element are then in different lanes.
TEST_F(GatedTest, WithFewRegisters) {
  caps_.is_cpu = false;
  caps_.has_int8_dot = true;
  caps_.register_words = 64;
  for (const MatrixKind& kind :
       {MatrixKind{GgmlType::q4_0, LinearClass::f32}, MatrixKind{GgmlType::q6_k, LinearClass::f32},
        MatrixKind{GgmlType::q4_0, LinearClass::int8_dot}}) {
    for (const uint64_t n : {1u, 5u, 16u}) compare(kind, n, nullptr, /*alone=*/n == 5);
  }
}

// Experts lie one behind the other, and a product has its own panels in every shard.
TEST_F(GatedTest, ExpertsAreGatedOneByOne) {
  constexpr uint32_t kExperts = 4, kUsed = 2;
  constexpr uint64_t n = 3;
  const auto linear_class = pick_linear_class(GgmlType::q4_0, kWidth, kCols, caps_, false);
  std::vector<std::byte> all;
  std::vector<std::vector<std::byte>> experts;
  for (uint32_t e = 0; e < kExperts; ++e) {
    experts.push_back(interleave(random_rows(GgmlType::q4_0, kWidth, kCols, 20 + e),
                                 random_rows(GgmlType::q4_0, kWidth, kCols, 30 + e), kWidth));
    all.insert(all.end(), experts[e].begin(), experts[e].end());
  }
  const auto scores = random_values(n * kExperts, 4);
  const Tensor score_tensor = upload(scores, Shape{n, kExperts});
  const Tensor scale = upload(std::vector<float>(kExperts, 1.0f), Shape{kExperts});
  const auto x = random_values(n * kCols, 5);
  caps_.max_storage_range_bytes = 4 * 64 * kCols / 2;  // four of the twelve panels
  caps_.max_texel_elements = caps_.max_storage_range_bytes / 16;
  PackedMatrix w = pack(GgmlType::q4_0, kExperts * 2 * kWidth, kCols, all, linear_class);
  EXPECT_GT(w.shards.size(), 1u);
  w.gated = true;
  const Rows together =
      compute(n * kUsed, nullptr, /*alone=*/true, [&](Graph& graph, const ActivationRows& y) {
        const ExpertRouting routing =
            add_expert_routing(graph, score_tensor, scale, {kUsed, {&w}}, "experts");
        const Tensor in = operand(graph, upload(x, Shape{n, kCols}), linear_class);
        add_expert_product(graph, w, 2 * kWidth, in, routing.tiles, y, "product");
      });
  Rows alone;
  for (uint64_t slot = 0; slot < n * kUsed; ++slot) {
    const float* own = &scores[slot / kUsed * kExperts];
    std::vector<uint32_t> order{0, 1, 2, 3};
    std::ranges::sort(order, [&](uint32_t a, uint32_t b) { return own[a] > own[b]; });
    PackedMatrix expert =
        pack(GgmlType::q4_0, 2 * kWidth, kCols, experts[order[slot % kUsed]], linear_class);
    expert.gated = true;
    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(slot / kUsed * kCols);
    const std::vector<float> column(begin, begin + kCols);
    const Rows row =
        compute(1, nullptr, /*alone=*/true, [&](Graph& graph, const ActivationRows& y) {
          const Tensor in = operand(graph, upload(column, Shape{1, kCols}), linear_class);
          add_matvec(graph, expert, in, y, "alone");
        });
    alone.f32.insert(alone.f32.end(), row.f32.begin(), row.f32.end());
    alone.bytes.insert(alone.bytes.end(), row.bytes.begin(), row.bytes.end());
    alone.words.insert(alone.words.end(), row.words.begin(), row.words.end());
  }
  EXPECT_EQ(together, alone);
}

}  // namespace
}  // namespace kimberlite::kernels
