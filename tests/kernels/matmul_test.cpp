// Products of many columns; that they are right at all is a test of matvec_test.cpp.
#include "kernels/matmul.hpp"

#include <set>
#include <string>

#include "kernels/linear_support.hpp"
#include "kernels/matvec.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

/// The way of this index, or the last one; counts the ways.
class NthWay final : public graph::VariantPolicy {
 public:
  explicit NthWay(size_t index) : index_(index) {}
  [[nodiscard]] bool allows(std::string_view, std::string_view) const override { return true; }
  [[nodiscard]] size_t choose(std::string_view, std::span<const std::string> ways) const override {
    n_ways_ = ways.size();
    return std::min(index_, ways.size() - 1);
  }
  [[nodiscard]] size_t n_ways() const { return n_ways_; }

 private:
  size_t index_;
  mutable size_t n_ways_ = 0;
};

class MatmulTest : public LinearTest {
 protected:
  MatmulTest() {
    caps_.has_int8_dot = true;
    // Eight parts of K with matrices of Q4_K are more than a CPU driver's 32 KiB; the rows here are
    // short and have fewer.
    if (has_matrices()) caps_.max_shared_bytes = 65536;
  }

  [[nodiscard]] bool has_matrices() const { return caps_.int8_matrix.m != 0; }

  /// Of columns first .. first + n of x [any, w.n_cols].
  std::vector<float> compute(const PackedMatrix& w, const std::vector<float>& x, uint64_t first,
                             uint64_t n, const graph::VariantPolicy* policy) {
    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(first * w.n_cols);
    const std::vector<float> columns(begin, begin + static_cast<std::ptrdiff_t>(n * w.n_cols));
    const uint64_t y_width = w.gated ? w.n_rows / 2 : w.n_rows;
    const Tensor y = poisoned(DType::f32, Shape{n, y_width});
    Graph graph(caps_, policy);
    Tensor in = upload(columns, Shape{n, w.n_cols});
    if (w.linear_class != LinearClass::f32) in = add_quant_act(graph, in, w.linear_class, "x_q");
    if (n > kMaxColumns) {
      add_matmul(graph, w, in, y, "product");
    } else {
      add_matvec(graph, w, in, y, "product");
    }
    run(graph);
    return download(y);
  }

  void compare_ways(const MatrixKind& kind, bool gated) {
    constexpr uint64_t kRows = 192, kCols = 512;
    const auto rows = random_rows(kind.type, kRows, kCols, 1);
    PackedMatrix w = pack(kind.type, kRows, kCols, rows, kind.linear_class);
    w.gated = gated;
    for (const uint64_t n : {3u, 5u, 8u, 24u}) {
      SCOPED_TRACE(::testing::Message() << formats::traits(kind.type).name << " n " << n);
      const auto x = random_values(n * kCols, 2);
      const NthWay first(0);
      const auto expected = compute(w, x, 0, n, &first);
      EXPECT_GT(first.n_ways(), 1u);
      for (size_t way = 1; way < first.n_ways(); ++way) {
        const NthWay other(way);
        EXPECT_EQ(compute(w, x, 0, n, &other), expected) << "way " << way;
      }
    }
  }

  /// The same, a decode pass for each 8 columns.
  std::vector<float> decode(const PackedMatrix& w, const std::vector<float>& x, uint64_t n) {
    std::vector<float> all;
    for (uint64_t first = 0; first < n; first += kMaxColumns) {
      const auto y = compute(w, x, first, kMaxColumns, nullptr);
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }

  void compare(GgmlType type, uint64_t n_cols, uint64_t n, bool gated) {
    SCOPED_TRACE(::testing::Message() << formats::traits(type).name << " of " << n_cols << " n "
                                      << n << " gated " << gated);
    const uint64_t n_rows = gated ? 192 : 193;
    PackedMatrix w =
        pack(type, n_rows, n_cols, random_rows(type, n_rows, n_cols, 1), LinearClass::int8_dot);
    w.gated = gated;
    w.scale = 0.37f;
    const auto x = random_values(n * n_cols, 2);
    std::set<std::string> compared;
    for_each_variant(matmul_kernel(type, LinearClass::int8_dot), [&](const auto& policy) {
      const std::string name(
          graph::pick_variant(matmul_kernel(type, LinearClass::int8_dot), caps_, &policy).name);
      if (!name.starts_with("split")) return;  // other parts of K than decode on this device
      SCOPED_TRACE(name);
      compared.insert(name);
      const auto many = compute(w, x, 0, n, &policy);
      const auto few = decode(w, x, n);
      ASSERT_EQ(many.size(), few.size());
      for (uint64_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], few[i]) << "at " << i;
    });
    EXPECT_TRUE(compared.contains("split_dot"));
    EXPECT_EQ(compared.contains("split_matrix"), has_matrices());
  }
};

// What is chosen by its speed may not change a bit.
TEST_F(MatmulTest, EveryWayHasTheSameBits) {
  for (const bool is_cpu : {true, false}) {
    caps_.is_cpu = is_cpu;
    for (const MatrixKind& kind : {MatrixKind{GgmlType::q4_0, LinearClass::int8_dot},
                                   MatrixKind{GgmlType::q4_0, LinearClass::int8_swar},
                                   MatrixKind{GgmlType::q6_k, LinearClass::f32}}) {
      for (const bool gated : {false, true}) compare_ways(kind, gated);
    }
  }
}

// A prompt's cache does not depend on how it was cut: by cooperative matrices too, if the device
// has them, whose sums are those of other instructions in another order of the elements of a block.
TEST_F(MatmulTest, ColumnsAreThoseOfDecode) {
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q8_0, GgmlType::q4_k}) {
    for (const bool gated : {false, true}) {
      for (const uint64_t n : {16u, 40u}) compare(type, 1024, n, gated);
    }
  }
}

// Of the shared module: scales of 32 and 16 elements, with a minimum, a bias and a table, and codes of
// 6, 5, 4, 2 and 1 bits.
TEST_F(MatmulTest, ColumnsOfTheSharedModuleAreThoseOfDecode) {
  for (const GgmlType type : {GgmlType::q6_k, GgmlType::q5_k, GgmlType::q5_0, GgmlType::iq4_xs,
                              GgmlType::q3_k, GgmlType::q2_k, GgmlType::nvfp4, GgmlType::q1_0}) {
    compare(type, 768, 24, /*gated=*/false);
  }
  compare(GgmlType::q6_k, 1024, 40, /*gated=*/true);
}

TEST_F(MatmulTest, TilesOfManyMatrices) {
  if (!has_matrices()) GTEST_SKIP() << "no cooperative matrices of int8";
  caps_.matrix_columns = 4 * caps_.int8_matrix.n;
  for (const uint64_t n : {24u, 72u}) compare(GgmlType::q4_k, 512, n, /*gated=*/true);
}

// One part of K, and parts of which the last have less to do.
TEST_F(MatmulTest, OfShortRows) {
  compare(GgmlType::q4_k, 256, 16, /*gated=*/false);
  for (const uint64_t n_cols : {32u, 352u}) compare(GgmlType::q4_0, n_cols, 16, /*gated=*/false);
}

}  // namespace
}  // namespace kimberlite::kernels
