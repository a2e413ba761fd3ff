// Head norms, rotary position and the write into the KV cache. Shader: rope_kv.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/column_slice.hpp"
#include "kernels/kv_layout.hpp"
#include "kernels/rope_table.hpp"

namespace kimberlite::kernels {

extern const graph::KernelDesc kRopeKv;
extern const graph::KernelDesc kRopeKvTable;  // for caches behind a table
extern const graph::KernelDesc kRopeQ;

struct RopeKvInputs {
  ColumnSlice q_raw;      // f32 [n, n_heads * d]
  ColumnSlice k_raw;      // f32 [n, n_kv_heads * d]
  ColumnSlice v_raw;      // the same shape; the same slice in layers with K = V
  graph::Tensor q_norm;   // f32 [d]
  graph::Tensor k_norm;   // f32 [d]
  graph::Tensor columns;  // u32 [n, 4]: shaders/common/columns.h
  graph::Tensor table;    // f32 [2 * kRopeTableRows, n_pairs * 2]: make_rope_table
  graph::Tensor q;        // out, f32 [n, n_heads * d]
  float eps = 1e-6f;
};

/// q = rope(norm(q_raw)); the cache row of every active column gets rope(norm(k_raw)) and
/// norm(v_raw), rounded to the cache's type. One dispatch, or one for each part of a cache without
/// a table that is longer than a storage binding may span.
void add_rope_kv(graph::Graph& graph, const RopeKvInputs& args, const KvCacheView& cache,
                 std::string label);

struct RopeQInputs {
  ColumnSlice q_raw;      // f32 [n, n_heads * d]
  graph::Tensor q_norm;   // f32 [d]
  graph::Tensor columns;  // u32 [n, 4]
  graph::Tensor table;    // f32 [2 * kRopeTableRows, n_pairs * 2]
  graph::Tensor q;        // out, f32 [n, n_heads * d]
  float eps = 1e-6f;
};

/// The same without K and V, for layers that read the cache of another layer.
void add_rope_q(graph::Graph& graph, const RopeQInputs& args, std::string label);

}  // namespace kimberlite::kernels
