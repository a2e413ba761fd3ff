#include "kernels/rope_kv.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/rope_kv.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kRopeKvBindings{BindingDesc{"q_raw"},
                                     BindingDesc{"q_norm"},
                                     BindingDesc{"columns"},
                                     BindingDesc{"table"},
                                     BindingDesc{"q", Access::write},
                                     BindingDesc{"k_raw"},
                                     BindingDesc{"v_raw"},
                                     BindingDesc{"k_norm"},
                                     BindingDesc{"k", Access::write},
                                     BindingDesc{"v", Access::write}};
constexpr std::array kRopeKvVariants{Variant{"portable", "rope_kv"}};
constexpr std::array kRopeKvTableVariants{Variant{"portable", "rope_kv_table"}};

constexpr std::array kRopeQBindings{BindingDesc{"q_raw"}, BindingDesc{"q_norm"},
                                    BindingDesc{"columns"}, BindingDesc{"table"},
                                    BindingDesc{"q", Access::write}};
constexpr std::array kRopeQVariants{Variant{"portable", "rope_q"}};

/// Heads are independent, so a workgroup is only a way to hand out subgroups.
constexpr uint32_t kSubgroupsInWorkgroup = 4;

/// Raw heads, which kernels read in vec4.
void check_raw(const ColumnSlice& slice, uint64_t n, uint64_t width) {
  check_slice(slice, n, width);
  KL_CHECK(slice.rows.shape[1] % 4 == 0 && slice.first % 4 == 0, "rows of vec4");
}

uint32_t raw_stride(const ColumnSlice& slice) {
  return static_cast<uint32_t>(slice.rows.shape[1] / 4);
}
uint32_t raw_first(const ColumnSlice& slice) { return static_cast<uint32_t>(slice.first / 4); }

void check_queries(const RopeQInputs& args) {
  KL_CHECK(args.q_norm.shape.rank() == 1 && args.q_norm.dtype == DType::f32, "a query norm [d]");
  const uint64_t head_dim = args.q_norm.shape[0];
  KL_CHECK(head_dim % 256 == 0, "a head of a multiple of 256");
  KL_CHECK(
      args.q.dtype == DType::f32 && args.q.shape.rank() == 2 && args.q.shape[1] % head_dim == 0,
      "whole heads");
  check_raw(args.q_raw, args.q.shape[0], args.q.shape[1]);
  KL_CHECK((args.columns.dtype == DType::u32 && args.columns.shape == Shape{args.q.shape[0], 4}),
           "columns of another shape");
  KL_CHECK(args.table.dtype == DType::f32 && args.table.shape.rank() == 2 &&
               args.table.shape[0] == 2 * kRopeTableRows && args.table.shape[1] % 16 == 0 &&
               args.table.shape[1] <= head_dim,
           "a RoPE table of another shape");
}

/// Everything but variant, tensors and the K/V numbers of the push constants.
graph::Node make_node(const graph::Graph& graph, const RopeQInputs& args, KvType type,
                      shaders::RopeKvPush push, std::string label) {
  const auto head_dim = static_cast<uint32_t>(args.q_norm.shape[0]);
  push.n_heads = static_cast<uint32_t>(args.q.shape[1] / head_dim);
  push.n_pairs = static_cast<uint32_t>(args.table.shape[1] / 2);
  push.eps = args.eps;
  push.q_stride = raw_stride(args.q_raw);
  push.q_first = raw_first(args.q_raw);
  const uint32_t lanes = graph.caps().subgroup_size;
  const uint32_t n_jobs = push.n_heads + 2 * push.n_kv_heads - push.first_head;

  graph::Node node;
  node.label = std::move(label);
  node.constants = {lanes * kSubgroupsInWorkgroup, lanes, head_dim, static_cast<uint32_t>(type)};
  node.set_push(push);
  node.grid = {div_up(n_jobs, kSubgroupsInWorkgroup), static_cast<uint32_t>(args.q.shape[0]), 1};
  node.bytes_touched = push.first_head == 0 ? 2 * args.q.n_bytes : 0;
  return node;
}

}  // namespace

const graph::KernelDesc kRopeKv{"rope_kv", kRopeKvBindings, sizeof(shaders::RopeKvPush),
                                kRopeKvVariants};
const graph::KernelDesc kRopeKvTable{"rope_kv_table", kRopeKvBindings, sizeof(shaders::RopeKvPush),
                                     kRopeKvTableVariants};
const graph::KernelDesc kRopeQ{"rope_q", kRopeQBindings, sizeof(shaders::RopeKvPush),
                               kRopeQVariants};

void add_rope_q(graph::Graph& graph, const RopeQInputs& args, std::string label) {
  check_queries(args);
  graph::Node node = make_node(graph, args, KvType::f32, {}, std::move(label));
  node.kernel = &kRopeQ;
  node.variant = &graph.pick(kRopeQ);
  node.tensors = {args.q_raw.rows, args.q_norm, args.columns, args.table, args.q};
  graph.add(std::move(node));
}

void add_rope_kv(graph::Graph& graph, const RopeKvInputs& args, const KvCacheView& cache,
                 std::string label) {
  const RopeQInputs queries{args.q_raw, args.q_norm, args.columns, args.table, args.q, args.eps};
  check_queries(queries);
  check_kv_cache(cache);
  const uint64_t n = args.q.shape[0];
  const uint64_t kv_width = uint64_t{cache.n_kv_heads} * cache.head_dim;
  KL_CHECK(args.q_norm.shape[0] == cache.head_dim, "a cache of another head size");
  check_raw(args.k_raw, n, kv_width);
  check_raw(args.v_raw, n, kv_width);
  KL_CHECK((args.k_norm.dtype == DType::f32 && args.k_norm.shape == Shape{cache.head_dim}),
           "a key norm of another shape");

  const uint64_t row_bytes = kv_row_bytes(cache.type, cache.n_kv_heads, cache.head_dim);
  const auto add_part = [&](uint64_t first, uint64_t n_bound, const Tensor& k, const Tensor& v) {
    shaders::RopeKvPush push{};
    push.n_kv_heads = cache.n_kv_heads;
    push.first_head = first == 0 ? 0 : static_cast<uint32_t>(args.q.shape[1] / cache.head_dim);
    push.n_rows = cache.n_rows;
    push.first_row = static_cast<uint32_t>(first);
    push.n_bound = static_cast<uint32_t>(n_bound);
    push.segment_rows = cache.segment_rows;
    push.k_stride = raw_stride(args.k_raw);
    push.k_first = raw_first(args.k_raw);
    push.v_stride = raw_stride(args.v_raw);
    push.v_first = raw_first(args.v_raw);
    graph::Node node = make_node(graph, queries, cache.type, push, label);
    node.kernel = cache.has_table() ? &kRopeKvTable : &kRopeKv;
    node.variant = &graph.pick(*node.kernel);
    node.tensors = {args.q_raw.rows, args.q_norm,     args.columns, args.table, args.q,
                    args.k_raw.rows, args.v_raw.rows, args.k_norm,  k,          v};
    node.bytes_touched += 2 * n * kv_width * sizeof(float) + 2 * n * row_bytes;
    graph.add(std::move(node));
  };
  if (cache.has_table()) {
    add_part(0, cache.n_rows, cache.k, cache.v);
    return;
  }
  // Parts of whole chunks: their first bytes keep every device's alignment.
  const uint64_t n_rows = cache.k.shape[0];
  const uint64_t limit = graph.caps().max_storage_range_bytes / row_bytes;
  const uint64_t part_rows = std::min(n_rows, limit / kAttentionChunk * kAttentionChunk);
  KL_CHECK(part_rows > 0, "a cache row beyond what one binding may span");
  for (uint64_t first = 0; first < n_rows; first += part_rows) {
    const uint64_t n_bound = std::min(part_rows, n_rows - first);
    add_part(first, n_bound, cache.k.rows(first, n_bound), cache.v.rows(first, n_bound));
  }
}

}  // namespace kimberlite::kernels
