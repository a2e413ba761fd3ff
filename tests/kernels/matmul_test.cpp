// Products of many columns; that they are right at all is a test of matvec_test.cpp.
#include "kernels/matmul.hpp"

#include "kernels/linear_support.hpp"
#include "kernels/matvec.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

class MatmulTest : public LinearTest {
 protected:
  MatmulTest() { caps_.has_int8_dot = true; }

  /// Of columns first .. first + n of x [any, w.n_cols].
  std::vector<float> compute(const PackedMatrix& w, const std::vector<float>& x, uint64_t first,
                             uint64_t n, const graph::VariantPolicy* policy) {
    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(first * w.n_cols);
    const std::vector<float> columns(begin, begin + static_cast<std::ptrdiff_t>(n * w.n_cols));
    const uint64_t y_width = w.gated ? w.n_rows / 2 : w.n_rows;
    const Tensor y = poisoned(DType::f32, Shape{n, y_width});
    Graph graph(caps_, policy);
    const Tensor in =
        add_quant_act(graph, upload(columns, Shape{n, w.n_cols}), w.linear_class, "x");
    if (n > kMaxColumns) {
      add_matmul(graph, w, in, y, "product");
    } else {
      add_matvec(graph, w, in, y, "product");
    }
    run(graph);
    return download(y);
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
    for_each_variant(matmul_kernel(type, LinearClass::int8_dot), [&](const auto& policy) {
      const std::string name(
          graph::pick_variant(matmul_kernel(type, LinearClass::int8_dot), caps_, &policy).name);
      if (!name.starts_with("split")) return;  // other parts of K than decode on this device
      SCOPED_TRACE(name);
      const auto many = compute(w, x, 0, n, &policy);
      const auto few = decode(w, x, n);
      ASSERT_EQ(many.size(), few.size());
      for (uint64_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], few[i]) << "at " << i;
    });
  }
};

// A prompt's cache does not depend on how it was cut: by cooperative matrices too, if the device
// has them, whose sums are those of other instructions in another order of the elements of a block.
TEST_F(MatmulTest, ColumnsAreThoseOfDecode) {
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q8_0, GgmlType::q4_k}) {
    for (const bool gated : {false, true}) {
      for (const uint64_t n : {16u, 40u}) compare(type, 1024, n, gated);
    }
  }
}

TEST_F(MatmulTest, TilesOfManyMatrices) {
  if (caps_.int8_matrix.m == 0) GTEST_SKIP() << "no cooperative matrices of int8";
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
