#include "kernels/matvec.hpp"

#include "kernels/linear_support.hpp"
#include "shaders/modules.hpp"

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
constexpr Case kFloatCases[] = {{65, 36}, {70, 7}};  // widths that are no whole step

/// The product in double, and for each value a bound on the error of computing it in float32. The
/// products of a block of 32 are summed, then the blocks: m terms in any order are off by about
/// sqrt(m) roundings of their magnitudes; four more for scales and the parts of K. Codes are
/// stored with a bias, so that a block's magnitude is up to three times its largest weight.
struct Oracle {
  std::vector<double> y;
  std::vector<double> tolerance;
};
Oracle multiply(const std::vector<float>& weights, const Case& shape, const std::vector<float>& x,
                uint64_t n, uint64_t x_stride) {
  Oracle oracle;
  const double roundings =
      4.0 + std::sqrt(32.0) + std::sqrt(static_cast<double>(div_up<uint64_t>(shape.n_cols, 32)));
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
    add_matvec(graph, w, upload(x, Shape{n, x.size() / n}), y, "product", epilogue);
    run(graph);
    return download(y);
  }

  void check(GgmlType type, const Case& shape, uint64_t n, const graph::VariantPolicy* policy) {
    SCOPED_TRACE(::testing::Message() << formats::traits(type).name << " " << shape.n_rows << "x"
                                      << shape.n_cols << " n " << n);
    const auto rows = random_rows(type, shape.n_rows, shape.n_cols, 1);
    const auto weights = decode_rows(type, rows, shape.n_rows, shape.n_cols);
    const uint64_t x_stride = align_up<uint64_t>(shape.n_cols, 4);
    const auto x = random_values(n * x_stride, 2);
    const Oracle oracle = multiply(weights, shape, x, n, x_stride);
    const auto y = compute(pack(type, shape.n_rows, shape.n_cols, rows), x, n, policy);
    for (uint64_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], oracle.y[i], oracle.tolerance[i]) << i;
  }
};

TEST_F(MatvecTest, MatchesDoublePrecision) {
  for (const GgmlType type : kPackedTypes) {
    for (const Case& shape : kCases) check(type, shape, 1, nullptr);
    for_each_variant(matvec_kernel(type, LinearClass::f32), [&](const auto& policy) {
      check(type, kCases[2], 2, &policy);
      if (type == GgmlType::f32 || type == GgmlType::bf16) {
        for (const Case& shape : kFloatCases) check(type, shape, 1, &policy);
      }
    });
  }
}

TEST_F(MatvecTest, ColumnsDoNotDependOnTheirNumber) {
  constexpr uint64_t kRows = 70;
  constexpr uint64_t kCols = 512;
  const auto x = random_values(kMaxColumns * kCols, 3);
  const auto compare = [&](const PackedMatrix& w, const graph::VariantPolicy* policy,
                           uint64_t step) {
    std::vector<float> alone;
    for (uint64_t c = 0; c < kMaxColumns; ++c) {
      const auto y = compute(w, {&x[c * kCols], &x[(c + 1) * kCols]}, 1, policy);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (uint64_t n = 2; n <= kMaxColumns; n += step) {
      const auto y =
          compute(w, {x.begin(), x.begin() + static_cast<ptrdiff_t>(n * kCols)}, n, policy);
      for (uint64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], alone[i]) << "n " << n << " at " << i;
    }
  };
  for (const GgmlType type : kPackedTypes) {
    SCOPED_TRACE(formats::traits(type).name);
    const PackedMatrix w = pack(type, kRows, kCols, random_rows(type, kRows, kCols, 4));
    const bool thorough = type == GgmlType::q4_0 || type == GgmlType::q6_k;
    compare(w, nullptr, thorough ? 1 : 6);
    if (!thorough) continue;
    for_each_variant(matvec_kernel(type, LinearClass::f32),
                     [&](const auto& policy) { compare(w, &policy, 3); });
  }
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

// A driver may contract a * b + c unless the module forbids it, and then columns would differ by
// the shape of the tile.
TEST(MatvecModules, ForbidContraction) {
  constexpr uint32_t kDecorate = 71;
  constexpr uint32_t kNoContraction = 42;
  size_t n_checked = 0;
  for (const shaders::Module& module : shaders::modules()) {
    if (!module.name.starts_with("matvec_")) continue;
    std::vector<bool> decorated(module.words[3]);
    for (size_t i = 5; i < module.words.size(); i += module.words[i] >> 16) {
      const uint32_t op = module.words[i] & 0xffff;
      if (op == kDecorate && module.words[i + 2] == kNoContraction) {
        decorated[module.words[i + 1]] = true;
      }
      const bool rounds = op == 129 || op == 131 || op == 133;  // FAdd, FSub, FMul
      if (!rounds) continue;
      ++n_checked;
      EXPECT_TRUE(decorated[module.words[i + 2]])
          << module.name << " op " << op << " at word " << i;
    }
  }
  EXPECT_GT(n_checked, 100u);
}

}  // namespace
}  // namespace kimberlite::kernels
