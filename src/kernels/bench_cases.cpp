#include "kernels/bench_cases.hpp"

#include "base/numeric.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matvec.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/tower_attention.hpp"

namespace kimberlite::kernels {

using formats::GgmlType;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

namespace {

/// A packed matrix in scratch memory.
PackedMatrix transient_matrix(Graph& graph, const PackedLayout& layout) {
  PackedMatrix matrix{layout.type,   layout.linear_class, layout.n_rows,
                      layout.n_cols, layout.n_steps,      {}};
  for (const ShardLayout& shard : layout.shards) {
    const auto wide = [&](const char* name, uint64_t n_bytes) {
      if (n_bytes == 0) return Tensor{};
      return graph.transient(name, DType::wide, Shape{n_bytes / 16});
    };
    Shard packed{shard.first_row, shard.n_rows, wide("codes", shard.codes_bytes), {}};
    packed.scales = wide("scales", shard.scales_bytes);
    matrix.shards.push_back(packed);
  }
  return matrix;
}

struct Product {
  GgmlType type;
  uint64_t n_rows;
  uint64_t n_cols;
  uint64_t n;  // columns
};

// Shapes of the 12B: attention output, gate or up, down; and one that comes from memory.
constexpr Product kMatvecs[] = {{GgmlType::q4_0, 3840, 3840, 1},   {GgmlType::q4_0, 3840, 3840, 2},
                                {GgmlType::q4_0, 3840, 3840, 4},   {GgmlType::q4_0, 3840, 3840, 8},
                                {GgmlType::q4_0, 15360, 3840, 1},  {GgmlType::q4_0, 3840, 15360, 1},
                                {GgmlType::q4_0, 65536, 3840, 1},  {GgmlType::q4_k, 3840, 3840, 1},
                                {GgmlType::q6_k, 3840, 3840, 1},   {GgmlType::q6_k, 65536, 3840, 1},
                                {GgmlType::q8_0, 3840, 3840, 1},   {GgmlType::f16, 3840, 3840, 1},
                                {GgmlType::bf16, 3840, 3840, 1},   {GgmlType::f32, 3840, 3840, 1},
                                {GgmlType::q5_k, 3840, 3840, 1},   {GgmlType::q5_0, 3840, 3840, 1},
                                {GgmlType::q3_k, 3840, 3840, 1},   {GgmlType::q2_k, 3840, 3840, 1},
                                {GgmlType::iq4_xs, 3840, 3840, 1}, {GgmlType::mxfp4, 3840, 3840, 1},
                                {GgmlType::nvfp4, 3840, 3840, 1}};
constexpr Product kMatmuls[] = {
    {GgmlType::q4_0, 3840, 3840, 64},  {GgmlType::q4_0, 15360, 3840, 64},
    {GgmlType::q4_0, 3840, 3840, 256}, {GgmlType::q4_k, 3840, 3840, 64},
    {GgmlType::q6_k, 3840, 3840, 64},  {GgmlType::bf16, 3840, 3840, 64},
    {GgmlType::q5_k, 3840, 3840, 64},  {GgmlType::iq4_xs, 3840, 3840, 64},
    {GgmlType::f16, 3072, 768, 256}};

/// A step of an encoder of pictures: E2B and E4B, 26B and 31B, with pictures of 280 tokens.
struct TowerCase {
  uint64_t n_heads;
  uint32_t head_dim;
};
constexpr TowerCase kTowers[] = {{12, 64}, {16, 72}};
constexpr uint64_t kTowerQueries = 256;
constexpr uint32_t kTowerKeys = 2520;

std::string product_name(const Product& product, LinearClass linear_class) {
  const char* suffix = linear_class == LinearClass::f32 ? " f32" : " int8";
  return std::string(formats::traits(product.type).name) + suffix + " " +
         std::to_string(product.n_rows) + "x" + std::to_string(product.n_cols) + " n" +
         std::to_string(product.n);
}

BenchCase product_case(const Product& product, const vk::Caps& caps, LinearClass linear_class,
                       bool many) {
  const PackedLayout layout =
      plan_packed(product.type, product.n_rows, product.n_cols, caps, linear_class);
  uint64_t n_bytes = (product.n_rows + product.n_cols) * product.n * sizeof(float);
  for (const uint64_t range : layout.range_bytes()) n_bytes += range;
  const auto build = [product, layout, many](Graph& graph) {
    const PackedMatrix w = transient_matrix(graph, layout);
    Tensor x = graph.transient("x", DType::f32, Shape{product.n, product.n_cols});
    if (layout.linear_class != LinearClass::f32) {
      x = graph.transient("x_q", DType::u32,
                          Shape{product.n, quantized_width(layout.linear_class, product.n_cols)});
    }
    const Tensor y = graph.transient("y", DType::f32, Shape{product.n, product.n_rows});
    if (many) add_matmul(graph, w, x, y, "matmul");
    if (!many) add_matvec(graph, w, x, y, "matvec");
  };
  return {many ? "matmul" : "matvec", product_name(product, linear_class), build, n_bytes,
          product.n_rows * product.n_cols * product.n};
}

void add_products(std::vector<BenchCase>& cases, const Product& product, const vk::Caps& caps,
                  bool many) {
  const LinearClass fast =
      pick_linear_class(product.type, product.n_rows, product.n_cols, caps, false);
  cases.push_back(product_case(product, caps, LinearClass::f32, many));
  if (fast != LinearClass::f32) cases.push_back(product_case(product, caps, fast, many));
}

BenchCase tower_case(const TowerCase& tower) {
  const uint64_t width = tower.n_heads * tower.head_dim;
  const auto build = [width, tower](Graph& graph) {
    const auto rows = [&](const char* name, uint64_t n) {
      return graph.transient(name, DType::f32, Shape{n, width});
    };
    add_tower_attention(graph,
                        {.q = rows("q", kTowerQueries),
                         .k = rows("k", kTowerKeys),
                         .v = rows("v", kTowerKeys),
                         .y = rows("y", kTowerQueries),
                         .head_dim = tower.head_dim,
                         .n_keys = kTowerKeys},
                        "tower_attention");
  };
  const std::string name = std::to_string(tower.n_heads) + " heads of " +
                           std::to_string(tower.head_dim) + ", " + std::to_string(kTowerQueries) +
                           " x " + std::to_string(kTowerKeys);
  return {"tower_attention", name, build, 2 * (kTowerQueries + kTowerKeys) * width * sizeof(float),
          2 * kTowerQueries * kTowerKeys * width};
}

}  // namespace

std::vector<BenchCase> bench_cases(const vk::Caps& caps) {
  std::vector<BenchCase> cases;
  for (const Product& product : kMatvecs) add_products(cases, product, caps, false);
  for (const Product& product : kMatmuls) add_products(cases, product, caps, true);
  for (const TowerCase& tower : kTowers) cases.push_back(tower_case(tower));
  return cases;
}

}  // namespace kimberlite::kernels
