#include "kernels/matvec.hpp"

#include "kernels/linear_support.hpp"
#include "kernels/matmul.hpp"
#include "kernels/panel_product.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/reference.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

struct Case {
  uint64_t n_rows;
  uint64_t n_cols;
};
constexpr Case kCases[] = {{1, 256}, {100, 768}, {193, 1024}};
constexpr Case kBlockCase{70, 192};                  // where a block has at most 64 elements
constexpr Case kFloatCases[] = {{65, 36}, {70, 7}};  // widths that are no whole step

/// The product in double, and for each value a bound on the error of computing it in float32. The
/// products of a block of 32 are summed, then the blocks: m terms in any order are off by about
/// sqrt(m) roundings of their magnitudes; four more for scales and the parts of K. Codes are
/// stored with a bias, so that a block's magnitude is up to three times its largest weight. With
/// `exact_blocks` (int8 classes) the sums of blocks are integers and do not round.
struct Oracle {
  std::vector<double> y;
  std::vector<double> tolerance;
};
Oracle multiply(const std::vector<float>& weights, const Case& shape, const std::vector<float>& x,
                uint64_t n, uint64_t x_stride, bool exact_blocks = false) {
  Oracle oracle;
  const double roundings = 4.0 + (exact_blocks ? 0.0 : std::sqrt(32.0)) +
                           std::sqrt(static_cast<double>(div_up<uint64_t>(shape.n_cols, 32)));
  for (uint64_t i = 0; i < n * shape.n_rows; ++i) {
    const float* w = &weights[i % shape.n_rows * shape.n_cols];
    const float* xs = &x[i / shape.n_rows * x_stride];
    double sum = 0;
    double magnitude = 0;
    for (uint64_t block = 0; block < shape.n_cols; block += 32) {
      double largest = 0;
      double x_norm = 0;
      for (uint64_t k = block; k < std::min(block + 32, shape.n_cols); ++k) {
        sum += double{w[k]} * xs[k];
        largest = std::max(largest, std::abs(double{w[k]}));
        x_norm += std::abs(xs[k]);
      }
      magnitude += 3 * largest * x_norm;
    }
    oracle.y.push_back(sum);
    oracle.tolerance.push_back(magnitude * roundings * 0x1p-24);
  }
  return oracle;
}

class MatvecTest : public LinearTest {
 protected:
  std::vector<float> compute(const PackedMatrix& w, const std::vector<float>& x, uint64_t n,
                             const graph::VariantPolicy* policy,
                             const MatvecEpilogue& epilogue = {}) {
    const Tensor y = poisoned(DType::f32, Shape{n, w.n_rows});
    Graph graph(caps_, policy);
    const Tensor input = upload(x, Shape{n, x.size() / n});
    if (n > kMaxColumns) {
      add_matmul(graph, w, operand(graph, w, input), y, "product");
    } else {
      add_matvec(graph, w, operand(graph, w, input), y, "product", epilogue);
    }
    run(graph);
    return download(y);
  }

  /// x as the kernels of the class see it: what add_quant_act made of it.
  std::vector<float> rounded(const std::vector<float>& x, LinearClass linear_class) {
    const uint64_t width = quantized_width(linear_class, x.size());
    const Tensor copy = poisoned(DType::u32, Shape{1, width});
    Graph graph(caps_);
    add_quant_act(graph, upload(x, Shape{1, x.size()}), copy, linear_class, "x_q");
    run(graph);
    const auto words = download_u32(copy);
    return reference::decode_rounded(std::as_bytes(std::span(words)), linear_class);
  }

  static Tensor operand(Graph& graph, const PackedMatrix& w, const Tensor& x) {
    if (w.linear_class == LinearClass::f32) return x;
    return add_quant_act(graph, x, w.linear_class, "x_q");
  }

  void check(GgmlType type, const Case& shape, uint64_t n, const graph::VariantPolicy* policy,
             LinearClass linear_class = LinearClass::f32) {
    SCOPED_TRACE(::testing::Message() << formats::traits(type).name << " " << shape.n_rows << "x"
                                      << shape.n_cols << " n " << n);
    const auto rows = random_rows(type, shape.n_rows, shape.n_cols, 1);
    const auto weights = decode_rows(type, rows, shape.n_rows, shape.n_cols);
    const uint64_t x_stride = align_up<uint64_t>(shape.n_cols, 4);
    const auto x = random_values(n * x_stride, 2);
    const bool exact = linear_class != LinearClass::f32;
    const auto seen = exact ? rounded(x, linear_class) : x;
    const Oracle oracle = multiply(weights, shape, seen, n, x_stride, exact);
    const PackedMatrix w = pack(type, shape.n_rows, shape.n_cols, rows, linear_class);
    const auto y = compute(w, x, n, policy);
    for (uint64_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], oracle.y[i], oracle.tolerance[i]) << i;
  }
};

TEST_F(MatvecTest, MatchesDoublePrecision) {
  for (const GgmlType type : packed_types()) {
    for (const Case& shape : kCases) check(type, shape, 1, nullptr);
    for_each_variant(matvec_kernel(type, LinearClass::f32), [&](const auto& policy) {
      check(type, kCases[2], 2, &policy);
      if (formats::traits(type).block_elems <= 64) check(type, kBlockCase, 3, &policy);
      if (type == GgmlType::f32 || type == GgmlType::bf16) {
        for (const Case& shape : kFloatCases) check(type, shape, 1, &policy);
      }
    });
  }
}

/// Every type with an int8 class.
std::vector<MatrixKind> int8_kinds() {
  std::vector<MatrixKind> kinds;
  for (const MatrixKind& kind : matrix_kinds()) {
    if (kind.linear_class != LinearClass::f32) kinds.push_back(kind);
  }
  return kinds;
}

TEST_F(MatvecTest, Int8ClassesAreExactButForTheSumOfBlocks) {
  for (const auto& [type, linear_class] : int8_kinds()) {
    SCOPED_TRACE(static_cast<int>(linear_class));
    check(type, kCases[1], 1, nullptr, linear_class);
    for_each_variant(matvec_kernel(type, linear_class),
                     [&](const auto& policy) { check(type, kCases[2], 2, &policy, linear_class); });
  }
}

/// Lanes with a row each instead of two, as where registers are few.
TEST_F(MatvecTest, FewRegistersMatch) {
  caps_.is_cpu = false;
  caps_.has_int8_dot = true;
  caps_.register_words = 64;
  for (const MatrixKind& kind :
       {MatrixKind{GgmlType::bf16, LinearClass::f32}, MatrixKind{GgmlType::q6_k, LinearClass::f32},
        MatrixKind{GgmlType::q4_0, LinearClass::f32}, MatrixKind{GgmlType::q4_k, LinearClass::f32},
        MatrixKind{GgmlType::q3_k, LinearClass::f32},
        MatrixKind{GgmlType::q8_0, LinearClass::int8_dot},
        MatrixKind{GgmlType::q4_0, LinearClass::int8_dot},
        MatrixKind{GgmlType::q4_k, LinearClass::int8_dot},
        MatrixKind{GgmlType::q3_k, LinearClass::int8_dot}}) {
    const auto& variant = graph::pick_variant(matvec_kernel(kind.type, kind.linear_class), caps_);
    const PackedMatrix w{kind.type, kind.linear_class, 1, 256, 1, {}};
    EXPECT_EQ(pick_panel_shape(variant, caps_, w, 1, 1).lanes, kPanelRows) << variant.name;
    for (const uint64_t n : {1u, 7u}) check(kind.type, kCases[2], n, nullptr, kind.linear_class);
  }
}

// Extremes of both operands: the fields of two rows in one word must not touch.
TEST_F(MatvecTest, SwarFieldsHoldTheLargestSums) {
  const Case shape{64, 256};
  auto rows = random_rows(GgmlType::q4_0, shape.n_rows, shape.n_cols, 11);
  for (uint64_t i = 0; i < rows.size(); ++i) {
    const bool full = (i / 144) % 3 != 0;  // rows of 15 beside rows of 0
    if (i % 18 >= 2) rows[i] = full ? std::byte{0xff} : std::byte{0};
  }
  for (const float sign : {1.0f, -1.0f}) {
    const std::vector<float> x(shape.n_cols, sign);
    const auto weights = decode_rows(GgmlType::q4_0, rows, shape.n_rows, shape.n_cols);
    const Oracle oracle = multiply(weights, shape, x, 1, shape.n_cols, true);
    const PackedMatrix w =
        pack(GgmlType::q4_0, shape.n_rows, shape.n_cols, rows, LinearClass::int8_swar);
    const auto y = compute(w, x, 1, nullptr);
    for (uint64_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], oracle.y[i], oracle.tolerance[i]);
  }
}

// OpSDot itself, also on drivers that emulate it.
TEST_F(MatvecTest, DotInstructionsMatch) {
  caps_.has_int8_dot = true;
  for (const auto& [type, linear_class] : int8_kinds()) {
    if (linear_class != LinearClass::int8_dot) continue;
    for_each_variant(matvec_kernel(type, linear_class), [&](const auto& policy) {
      check(type, kCases[1], 1, &policy, LinearClass::int8_dot);
    });
  }
}

TEST_F(MatvecTest, ManyColumnsMatchDoublePrecision) {
  for (const GgmlType type : packed_types()) check(type, kCases[1], 16, nullptr);
  check(GgmlType::q4_0, kCases[1], 16, nullptr, LinearClass::int8_swar);
  check(GgmlType::q4_0, kCases[1], 16, nullptr, LinearClass::int8_dot);
  check(GgmlType::q3_k, kCases[1], 16, nullptr, LinearClass::int8_dot);
  check(GgmlType::bf16, kFloatCases[0], 16, nullptr);
  for_each_variant(matmul_kernel(GgmlType::q4_0, LinearClass::f32),
                   [&](const auto& policy) { check(GgmlType::q4_0, kCases[2], 24, &policy); });
}

TEST_F(MatvecTest, ColumnsDoNotDependOnTheirNumber) {
  constexpr uint64_t kRows = 70;
  constexpr uint64_t kCols = 512;
  const auto x = random_values(kMaxColumns * kCols, 3);
  const auto compare = [&](const PackedMatrix& w, const graph::VariantPolicy* policy,
                           std::initializer_list<uint64_t> numbers) {
    std::vector<float> alone;
    for (uint64_t c = 0; c < kMaxColumns; ++c) {
      const auto y = compute(w, {&x[c * kCols], &x[(c + 1) * kCols]}, 1, policy);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (const uint64_t n : numbers) {
      const auto y =
          compute(w, {x.begin(), x.begin() + static_cast<ptrdiff_t>(n * kCols)}, n, policy);
      for (uint64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], alone[i]) << "n " << n << " at " << i;
    }
  };
  for (const auto& [type, linear_class] : int8_kinds()) {
    SCOPED_TRACE(formats::traits(type).name);
    const PackedMatrix w =
        pack(type, kRows, kCols, random_rows(type, kRows, kCols, 4), linear_class);
    // A pipeline for each number: types that share a module have fewer.
    if (find_coded_format(type, linear_class).has_value()) {
      compare(w, nullptr, {7});
    } else {
      compare(w, nullptr, {2, 5, 8});
    }
  }
  for (const GgmlType type : packed_types()) {
    SCOPED_TRACE(formats::traits(type).name);
    const PackedMatrix w = pack(type, kRows, kCols, random_rows(type, kRows, kCols, 4));
    if (find_coded_format(type, LinearClass::f32).has_value()) {
      compare(w, nullptr, {5});
      continue;
    }
    compare(w, nullptr, {2, 7});
    if (type != GgmlType::q4_0) continue;
    compare(w, nullptr, {3, 4, 5, 6, 8});
    for_each_variant(matvec_kernel(type, LinearClass::f32), [&](const auto& policy) {
      compare(w, &policy, {2, 7});
    });
  }
  // The shared module at every number: a format with all that any has.
  const GgmlType all = GgmlType::q3_k;
  const PackedMatrix w = pack(all, kRows, kCols, random_rows(all, kRows, kCols, 4));
  compare(w, nullptr, {2, 3, 4, 5, 6, 7, 8});
}

/// What a column more costs is one more column of a tile: not a tile of its own for one column.
TEST_F(MatvecTest, TilesOfAPassAreEven) {
  const Case shape{70, 256};
  const auto rows = random_rows(GgmlType::q4_0, shape.n_rows, shape.n_cols, 5);
  const PackedMatrix w = pack(GgmlType::q4_0, shape.n_rows, shape.n_cols, rows);
  for_each_variant(matvec_kernel(w.type, w.linear_class), [&](const auto& policy) {
    for (uint32_t n = 1; n <= kMaxColumns; ++n) {
      Graph graph(caps_, &policy);
      const Tensor x = upload(random_values(n * shape.n_cols, 6), Shape{n, shape.n_cols});
      add_matvec(graph, w, x, poisoned(DType::f32, Shape{n, w.n_rows}), "product");
      const graph::Node& node = graph.nodes().back();
      const uint32_t n_tiles = node.grid[0];
      const uint32_t n_computed = n_tiles * node.constants[2];  // matvec.comp: COLUMNS
      EXPECT_GE(n_computed, n);
      EXPECT_LT(n_computed - n, n_tiles) << "n " << n << ": " << n_tiles << " tiles";
    }
  });
}

TEST_F(MatvecTest, ShardsWriteTheirOwnRows) {
  const Case shape{64 * 5 + 9, 256};
  const auto rows = random_rows(GgmlType::q4_0, shape.n_rows, shape.n_cols, 5);
  const auto x = random_values(shape.n_cols, 6);
  const auto whole = compute(pack(GgmlType::q4_0, shape.n_rows, shape.n_cols, rows), x, 1, nullptr);
  caps_.max_texel_elements = 1200;  // two panels of eight units of 64 rows
  caps_.max_storage_range_bytes = caps_.max_texel_elements * 16;
  const PackedMatrix w = pack(GgmlType::q4_0, shape.n_rows, shape.n_cols, rows);
  EXPECT_EQ(w.shards.size(), 3u);
  EXPECT_EQ(compute(w, x, 1, nullptr), whole);
}

TEST_F(MatvecTest, SoftcapIsATanh) {
  const Case shape{100, 256};
  const auto rows = random_rows(GgmlType::f32, shape.n_rows, shape.n_cols, 7);
  const PackedMatrix w = pack(GgmlType::f32, shape.n_rows, shape.n_cols, rows);
  for (const float scale : {1e-3f, 1.0f, 10.0f, 1e4f}) {
    const auto x = random_values(shape.n_cols, 8, scale);
    const auto plain = compute(w, x, 1, nullptr);
    const auto capped = compute(w, x, 1, nullptr, {.softcap = 30.0f});
    for (uint64_t i = 0; i < plain.size(); ++i) {
      const double expected = 30.0 * std::tanh(plain[i] / 30.0);
      ASSERT_NEAR(capped[i], expected, std::abs(expected) * 8 * 0x1p-24) << plain[i];
    }
  }
}

TEST_F(MatvecTest, AScaleOfTheMatrixComesBeforeTheSoftcap) {
  const Case shape{100, 256};
  const auto rows = random_rows(GgmlType::nvfp4, shape.n_rows, shape.n_cols, 12);
  const auto x = random_values(shape.n_cols, 13);
  PackedMatrix w = pack(GgmlType::nvfp4, shape.n_rows, shape.n_cols, rows);
  const auto plain = compute(w, x, 1, nullptr);
  w.scale = 0.0037f;
  const auto scaled = compute(w, x, 1, nullptr);
  const auto capped = compute(w, x, 1, nullptr, {.softcap = 3.0f});
  for (uint64_t i = 0; i < plain.size(); ++i) {
    ASSERT_EQ(scaled[i], plain[i] * 0.0037f);
    const double expected = 3.0 * std::tanh(scaled[i] / 3.0);
    ASSERT_NEAR(capped[i], expected, std::abs(expected) * 8 * 0x1p-24);
  }
}

// The tolerance sees what a wrong kernel would do: two rows' scales swapped within one block.
TEST_F(MatvecTest, ToleranceSeesASwappedScale) {
  const Case shape{100, 768};
  auto rows = random_rows(GgmlType::q4_0, shape.n_rows, shape.n_cols, 9);
  const auto x = random_values(shape.n_cols, 10);
  const auto weights = decode_rows(GgmlType::q4_0, rows, shape.n_rows, shape.n_cols);
  const Oracle oracle = multiply(weights, shape, x, 1, shape.n_cols);
  const uint64_t row_bytes = rows.size() / shape.n_rows;
  std::swap_ranges(rows.begin(), rows.begin() + 2,
                   rows.begin() + static_cast<ptrdiff_t>(row_bytes));
  const auto y = compute(pack(GgmlType::q4_0, shape.n_rows, shape.n_cols, rows), x, 1, nullptr);
  for (uint64_t row = 0; row < 2; ++row) {
    EXPECT_GT(std::abs(y[row] - oracle.y[row]), 10 * oracle.tolerance[row]);
  }
}

}  // namespace
}  // namespace kimberlite::kernels
