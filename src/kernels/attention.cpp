#include "kernels/attention.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/attention.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr BindingDesc kCacheK{.name = "k", .wide = true};
constexpr BindingDesc kCacheV{.name = "v", .wide = true};
constexpr BindingDesc kY{"y", Access::read_write};  // what is rounded is read back
constexpr BindingDesc kYq{"y_q", Access::write};
constexpr std::array kAttentionBindings{
    BindingDesc{"q"}, BindingDesc{"columns"}, kCacheK, kCacheV, kY, kYq};
constexpr std::array kSplitBindings{BindingDesc{"q"},
                                    BindingDesc{"columns"},
                                    kCacheK,
                                    kCacheV,
                                    BindingDesc{"partial", Access::write},
                                    BindingDesc{"state", Access::write}};
constexpr std::array kTableBindings{
    BindingDesc{"q"}, BindingDesc{"columns"}, BindingDesc{"k"}, BindingDesc{"v"}, kY, kYq};
constexpr std::array kSplitTableBindings{BindingDesc{"q"},
                                         BindingDesc{"columns"},
                                         BindingDesc{"k"},
                                         BindingDesc{"v"},
                                         BindingDesc{"partial", Access::write},
                                         BindingDesc{"state", Access::write}};
constexpr std::array kMergeBindings{BindingDesc{"partial"}, BindingDesc{"state"},
                                    BindingDesc{"y", Access::write}, kYq};

/// The bindings of a split kernel, and those of one that merges its splits.
constexpr std::array<BindingDesc, 9> with_merge(const std::array<BindingDesc, 6>& split) {
  return {split[0],
          split[1],
          split[2],
          split[3],
          BindingDesc{"partial", Access::read_write},
          BindingDesc{"state", Access::read_write},
          BindingDesc{"counters", Access::read_write},
          BindingDesc{"y", Access::write},
          kYq};
}
constexpr std::array kMergedBindings = with_merge(kSplitBindings);
constexpr std::array kMergedTableBindings = with_merge(kSplitTableBindings);

bool has_shared_memory(const vk::Caps& caps) { return !caps.is_cpu; }

constexpr std::array kAttentionVariants{
    Variant{"workgroup", "attention_workgroup", has_shared_memory},
    Variant{"portable", "attention"}};
constexpr std::array kSplitVariants{
    Variant{"workgroup", "attention_split_workgroup", has_shared_memory},
    Variant{"portable", "attention_split"}};
constexpr std::array kMergedVariants{
    Variant{"workgroup", "attention_merged_workgroup", has_shared_memory},
    Variant{"portable", "attention_merged"}};
constexpr std::array kMergeVariants{Variant{"portable", "attention_merge"}};
constexpr std::array kPrefillVariants{Variant{"portable", "attention"}};
constexpr std::array kTableVariants{
    Variant{"workgroup", "attention_workgroup_table", has_shared_memory},
    Variant{"portable", "attention_table"}};
constexpr std::array kSplitTableVariants{
    Variant{"workgroup", "attention_split_workgroup_table", has_shared_memory},
    Variant{"portable", "attention_split_table"}};
constexpr std::array kMergedTableVariants{
    Variant{"workgroup", "attention_merged_workgroup_table", has_shared_memory},
    Variant{"portable", "attention_merged_table"}};
constexpr std::array kPrefillTableVariants{Variant{"portable", "attention_table"}};

/// Subgroups in a workgroup of the portable variant, where they are independent. CPU drivers spread
/// workgroups over threads.
uint32_t independent_subgroups(const vk::Caps& caps) { return caps.is_cpu ? 1 : 4; }
/// A ring longer than this is treated as a full layer.
constexpr uint32_t kManyRows = 16384;

uint32_t largest_divisor(uint32_t value, uint32_t at_most) {
  uint32_t divisor = std::min(value, at_most);
  while (value % divisor != 0) --divisor;
  return divisor;
}

/// Splits by chunk, so that the device is busy with a single column.
uint32_t pick_splits(const vk::Caps& caps, const KvCacheView& cache, uint32_t n_tiles) {
  const uint32_t wanted = caps.is_cpu ? 8 : 4 * caps.n_compute_units;
  const uint32_t visible = cache.window != 0 ? cache.window : cache.n_rows;
  const uint32_t useful = std::min(64u, div_up(visible, kAttentionChunk));
  return std::clamp(div_up(wanted, n_tiles), 1u, useful);
}

/// Queries of a tile at most: they share a key's load. lavapipe, 1,024 keys, busy machine: 4
/// instead of 2 take 1.5 times off decode (16 heads of 512) and 1.9 off prefill; 8 gain 1.2 more
/// and compile 4 times longer (2026-11-21).
constexpr uint32_t kMaxQueries = 4;

/// What the registers of a subgroup hold: spilling them costs far more than loading a key more
/// often. Sums take a third of few registers (Intel) and less than two thirds of many; narrower
/// subgroups have as many in all, and less of them goes to what a lane has on its way.
uint32_t fit_registers(const vk::Caps& caps, uint32_t head_dim, AttentionTiling& tiling) {
  tiling.n_lanes = caps.subgroup_size;
  if (caps.is_cpu) return kMaxQueries;
  uint32_t n_registers = caps.register_words;
  const auto sums = [&] { return div_up(head_dim, tiling.n_lanes); };  // of one query
  const auto limit = [&] { return n_registers < 256 ? n_registers / 3 : 160; };
  if (2 * sums() > limit() && tiling.n_lanes / 2 >= caps.min_subgroup_size && n_registers < 256) {
    tiling.n_lanes /= 2;
    n_registers *= 2;
  }
  const uint32_t n_queries = std::clamp(limit() / sums(), 1u, kMaxQueries);
  tiling.holds_queries = 2 * n_queries * sums() <= limit();
  // For keys on their way.
  const uint32_t n_left = n_registers - std::min(n_registers, n_queries * sums());
  tiling.n_keys = n_left > 128 ? 4 : n_left > 64 ? 2 : 1;
  return n_queries;
}

void check_attention(const Tensor& q, const Tensor& columns, const KvCacheView& cache,
                     uint32_t n_heads) {
  check_kv_cache(cache);
  KL_CHECK(n_heads > 0 && n_heads % cache.n_kv_heads == 0, "query heads in whole groups");
  const Shape rows{q.shape[0], uint64_t{n_heads} * cache.head_dim};
  KL_CHECK(q.dtype == DType::f32 && q.shape == rows, "queries of another shape");
  KL_CHECK((columns.dtype == DType::u32 && columns.shape == Shape{q.shape[0], 4}),
           "columns of another shape");
}

graph::Node make_node(const graph::Graph& graph, const graph::KernelDesc& kernel,
                      const AttentionTiling& tiling, const KvCacheView& cache, uint32_t n_heads,
                      uint32_t n_columns, OwnKey own_key) {
  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  // With a workgroup its subgroups share a chunk's keys, else each has a tile of its own.
  const bool workgroup = node.variant->name == "workgroup";
  const uint32_t lanes = tiling.n_lanes;
  const uint32_t n_subgroups =
      workgroup ? std::clamp(256 / lanes, 2u, 8u) : independent_subgroups(graph.caps());
  const uint32_t block = std::min(lanes, kAttentionChunk / (workgroup ? n_subgroups : 1));
  const uint32_t n_tiles = n_heads / tiling.tile_heads;
  // Only where there may be many keys: it makes the pipeline a fifth slower to compile.
  const bool unroll =
      graph.caps().max_loop_rounds != UINT32_MAX && (cache.window == 0 || cache.n_rows > kManyRows);
  node.subgroup_size = lanes;
  node.constants = {n_subgroups * lanes,
                    lanes,
                    cache.head_dim,
                    static_cast<uint32_t>(cache.type),
                    tiling.tile_heads,
                    tiling.tile_columns,
                    block,
                    std::min(tiling.n_keys, block),
                    unroll,
                    tiling.holds_queries};
  node.set_push(shaders::AttentionPush{
      n_columns, n_heads, cache.n_kv_heads, tiling.n_splits, cache.n_rows,
      cache.window != 0 ? cache.window : cache.n_rows, cache.segment_rows, own_key == OwnKey::seen,
      cache.window != 0 && own_key == OwnKey::seen});
  node.grid = {workgroup ? n_tiles : div_up(n_tiles, n_subgroups), tiling.n_splits,
               div_up(n_columns, tiling.tile_columns)};
  return node;
}

/// y of the parts of all splits.
void add_merge(graph::Graph& graph, const Tensor& partial, const Tensor& state,
               const ActivationRows& y, uint32_t head_dim, uint32_t n_splits,
               const std::string& label) {
  graph::Node merge;
  merge.kernel = &kAttentionMerge;
  merge.variant = &graph.pick(kAttentionMerge);
  merge.label = label + ".merge";
  merge.tensors = {partial, state, y.y(), y.y_q()};
  merge.constants = {graph.caps().is_cpu ? graph.caps().subgroup_size : head_dim / 4, y.outputs()};
  merge.set_push(shaders::AttentionMergePush{head_dim / 4, n_splits});
  const auto n = static_cast<uint32_t>(y.y().shape[0]);
  const auto n_heads = static_cast<uint32_t>(partial.shape[0] / n_splits / n);
  merge.grid = {n_heads, n, 1};
  merge.bytes_touched = partial.n_bytes + state.n_bytes + y.n_bytes();
  graph.add(std::move(merge));
}

}  // namespace

const graph::KernelDesc kAttention{"attention", kAttentionBindings, sizeof(shaders::AttentionPush),
                                   kAttentionVariants};
const graph::KernelDesc kAttentionSplit{"attention_split", kSplitBindings,
                                        sizeof(shaders::AttentionPush), kSplitVariants};
const graph::KernelDesc kAttentionMerged{"attention_merged", kMergedBindings,
                                         sizeof(shaders::AttentionPush), kMergedVariants,
                                         &kAttentionSplit};
const graph::KernelDesc kAttentionMerge{"attention_merge", kMergeBindings,
                                        sizeof(shaders::AttentionMergePush), kMergeVariants};
const graph::KernelDesc kAttentionPrefill{"attention_prefill", kAttentionBindings,
                                          sizeof(shaders::AttentionPush), kPrefillVariants};

const graph::KernelDesc kAttentionTable{"attention_table", kTableBindings,
                                        sizeof(shaders::AttentionPush), kTableVariants};
const graph::KernelDesc kAttentionSplitTable{"attention_split_table", kSplitTableBindings,
                                             sizeof(shaders::AttentionPush), kSplitTableVariants};
const graph::KernelDesc kAttentionMergedTable{"attention_merged_table", kMergedTableBindings,
                                              sizeof(shaders::AttentionPush), kMergedTableVariants,
                                              &kAttentionSplitTable};
const graph::KernelDesc kAttentionPrefillTable{"attention_prefill_table", kTableBindings,
                                               sizeof(shaders::AttentionPush),
                                               kPrefillTableVariants};

AttentionKernels attention_kernels(const KvCacheView& cache) {
  if (cache.has_table()) {
    return {kAttentionTable, kAttentionMergedTable, kAttentionSplitTable, kAttentionPrefillTable};
  }
  return {kAttention, kAttentionMerged, kAttentionSplit, kAttentionPrefill};
}

AttentionTiling pick_attention_tiling(const vk::Caps& caps, const KvCacheView& cache,
                                      uint32_t n_heads, uint32_t n_columns) {
  const uint32_t group = n_heads / cache.n_kv_heads;
  AttentionTiling tiling;
  const uint32_t most = fit_registers(caps, cache.head_dim, tiling);
  tiling.tile_heads = largest_divisor(group, most);
  if (n_columns > kMaxDecodeColumns) {
    tiling.tile_columns = std::max(1u, most / tiling.tile_heads);
    return tiling;
  }
  tiling.n_splits = pick_splits(caps, cache, n_heads / tiling.tile_heads);
  return tiling;
}

void add_attention(graph::Graph& graph, const Tensor& q, const Tensor& columns,
                   const KvCacheView& cache, const ActivationRows& y, uint32_t n_heads,
                   std::string label, OwnKey own_key) {
  check_attention(q, columns, cache, n_heads);
  check_activation_rows(y, graph.caps(), q.shape[0], q.shape[1]);
  const auto n = static_cast<uint32_t>(q.shape[0]);
  const AttentionTiling tiling = pick_attention_tiling(graph.caps(), cache, n_heads, n);
  const uint64_t visible = cache.window != 0 ? cache.window : cache.n_rows;
  const uint64_t cache_bytes =
      2 * visible * kv_row_bytes(cache.type, cache.n_kv_heads, cache.head_dim);
  const AttentionKernels kernels = attention_kernels(cache);

  if (tiling.n_splits == 1) {
    ActivationRows rows = y;  // what is rounded is read back
    if (!y.f32.valid()) rows.f32 = graph.transient(label + ".rows", DType::f32, q.shape);
    const graph::KernelDesc& kernel = n > kMaxDecodeColumns ? kernels.prefill : kernels.decode;
    graph::Node node = make_node(graph, kernel, tiling, cache, n_heads, n, own_key);
    node.label = std::move(label);
    node.tensors = {q, columns, cache.k, cache.v, rows.y(), rows.y_q()};
    node.constants.push_back(rows.outputs());
    node.bytes_touched = q.n_bytes + rows.n_bytes() + cache_bytes;
    graph.add(std::move(node));
    return;
  }

  const uint64_t n_parts = uint64_t{n} * n_heads * tiling.n_splits;
  const Tensor partial = graph.transient(label + ".partial", DType::f32, {n_parts, cache.head_dim});
  const Tensor state = graph.transient(label + ".state", DType::f32, {n_parts, 2});
  const bool merges = graph.can_use(kernels.merged);
  graph::Node node =
      make_node(graph, merges ? kernels.merged : kernels.split, tiling, cache, n_heads, n, own_key);
  node.label = label;
  node.tensors = {q, columns, cache.k, cache.v, partial, state};
  node.bytes_touched = q.n_bytes + cache_bytes + partial.n_bytes + state.n_bytes;
  if (merges) {
    const Tensor counters = graph.counters(uint64_t{n} * (n_heads / tiling.tile_heads));
    node.tensors.insert(node.tensors.end(), {counters, y.y(), y.y_q()});
    node.constants.push_back(y.outputs());
    node.bytes_touched += partial.n_bytes + state.n_bytes + y.n_bytes();
  }
  graph.add(std::move(node));
  if (!merges) add_merge(graph, partial, state, y, cache.head_dim, tiling.n_splits, label);
}

}  // namespace kimberlite::kernels
