#include "kernels/embed.hpp"

#include "kernels/linear_support.hpp"
#include "kernels/registry.hpp"

namespace kimberlite::kernels {
namespace {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr uint64_t kVocab = 64 * 4 + 11;
constexpr uint64_t kWidth = 256;
constexpr float kScale = 61.967733f;

class EmbedTest : public LinearTest {
 protected:
  std::vector<float> gather(const PackedMatrix& table, const std::vector<uint32_t>& tokens,
                            const graph::VariantPolicy* policy) {
    std::vector<uint32_t> columns;
    for (const uint32_t token : tokens) columns.insert(columns.end(), {token, 7, 0, 1});
    const Tensor y = poisoned(DType::f32, Shape{tokens.size(), table.n_cols});
    Graph graph(caps_, policy);
    add_embed(graph, table, upload(columns, Shape{tokens.size(), 4}), y, kScale, "embed");
    run(graph);
    return download(y);
  }
};

TEST_F(EmbedTest, GathersScaledRows) {
  const std::vector<uint32_t> tokens{0, 1, 8, 63, 64, 200, kVocab - 1, 5};
  for (const auto& [type, linear_class] : matrix_kinds()) {
    SCOPED_TRACE(formats::traits(type).name);
    const auto rows = random_rows(type, kVocab, kWidth, 1);
    const auto weights = decode_rows(type, rows, kVocab, kWidth);
    const PackedMatrix table = pack(type, kVocab, kWidth, rows, linear_class);
    const auto y = gather(table, tokens, nullptr);
    for (uint64_t i = 0; i < y.size(); ++i) {
      const double expected = double{weights[tokens[i / kWidth] * kWidth + i % kWidth]} * kScale;
      // One rounding of the weight's parts, one of the product; q4_k subtracts two products.
      const double magnitude = type == GgmlType::q4_k ? 0.1 * 63 * 15 * kScale : std::abs(expected);
      ASSERT_NEAR(y[i], expected, magnitude * 4 * 0x1p-24) << i;
    }
  }
}

TEST_F(EmbedTest, TheScaleOfTheTableCounts) {
  const auto rows = random_rows(GgmlType::nvfp4, kVocab, kWidth, 3);
  PackedMatrix table = pack(GgmlType::nvfp4, kVocab, kWidth, rows);
  const auto plain = gather(table, {3}, nullptr);
  table.scale = 0.25f;
  const auto scaled = gather(table, {3}, nullptr);
  for (uint64_t i = 0; i < plain.size(); ++i) ASSERT_EQ(scaled[i], plain[i] * 0.25f);
}

TEST_F(EmbedTest, ShardsAndForeignTokens) {
  const auto rows = random_rows(GgmlType::q6_k, kVocab, kWidth, 2);
  const std::vector<uint32_t> tokens{0, 130, kVocab, UINT32_MAX, 66};
  const auto whole = gather(pack(GgmlType::q6_k, kVocab, kWidth, rows), tokens, nullptr);
  caps_.max_texel_elements = 1600;  // two panels of 12 units of 64 rows
  caps_.max_storage_range_bytes = caps_.max_texel_elements * 16;
  const PackedMatrix table = pack(GgmlType::q6_k, kVocab, kWidth, rows);
  EXPECT_EQ(table.shards.size(), 3u);
  EXPECT_EQ(gather(table, tokens, nullptr), whole);
  const std::vector<float> first(whole.begin(), whole.begin() + kWidth);
  EXPECT_EQ(std::vector<float>(whole.begin() + 2 * kWidth, whole.begin() + 3 * kWidth), first);
  EXPECT_EQ(std::vector<float>(whole.begin() + 3 * kWidth, whole.begin() + 4 * kWidth), first);
}

}  // namespace
}  // namespace kimberlite::kernels
