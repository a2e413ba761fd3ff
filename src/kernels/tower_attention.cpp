#include "kernels/tower_attention.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "shaders/tower_attention.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"q"}, BindingDesc{"k"}, BindingDesc{"v"},
                               BindingDesc{"y", Access::write}};

bool has_shared_memory(const vk::Caps& caps) { return !caps.is_cpu; }

constexpr std::array kVariants{Variant{"workgroup", "tower_attention_workgroup", has_shared_memory},
                               Variant{"portable", "tower_attention"}};

/// What an invocation computes together.
struct Tile {
  uint32_t n_keys;  // of one softmax step
  uint32_t n_queries;
};
constexpr Tile kGpuTile{4, 1};  // more queries are more registers than there are
constexpr Tile kCpuTile{2, 4};  // lavapipe, 2,520 keys: 1.7 (heads of 64) and 3 times (72) {4, 1}
constexpr uint32_t kMaxInvocations = 128;  // of a workgroup with shared memory
constexpr uint32_t kSharedBytes = 16384;   // so that two workgroups have room in 32 KiB

/// Keys in shared memory together: both their rows.
uint32_t pick_shared_keys(uint32_t head_dim) {
  const uint32_t fits = kSharedBytes / (2 * head_dim * static_cast<uint32_t>(sizeof(float)));
  return std::max(fits / kGpuTile.n_keys * kGpuTile.n_keys, kGpuTile.n_keys);
}

}  // namespace

const graph::KernelDesc kTowerAttention{"tower_attention", kBindings,
                                        sizeof(shaders::TowerAttentionPush), kVariants};

void add_tower_attention(graph::Graph& graph, const TowerAttention& args, std::string label) {
  const uint64_t n_queries = args.q.shape[0];
  const uint64_t width = args.q.shape[1];
  KL_CHECK(args.head_dim % 4 == 0 && args.head_dim != 0 && args.head_dim <= kMaxTowerHeadDim &&
               width % args.head_dim == 0,
           "whole heads of a multiple of 4");
  KL_CHECK(args.q.dtype == DType::f32 && args.y.dtype == DType::f32 && args.y.shape == args.q.shape,
           "results of another shape");
  for (const Tensor* rows : {&args.k, &args.v}) {
    KL_CHECK(rows->dtype == DType::f32 && rows->shape.rank() == 2 && rows->shape[1] == width &&
                 rows->shape[0] >= args.n_keys && args.n_keys != 0,
             "fewer keys than are to be read");
    KL_CHECK(rows->n_elements() <= UINT32_MAX, "more elements than 32 bits count");
  }
  const vk::Caps& caps = graph.caps();
  const auto n_heads = static_cast<uint32_t>(width / args.head_dim);

  graph::Node node;
  node.kernel = &kTowerAttention;
  node.variant = &graph.pick(kTowerAttention);
  node.label = std::move(label);
  node.tensors = {args.q, args.k, args.v, args.y};
  const bool shares = node.variant->name == "workgroup";
  const Tile tile = shares || !caps.is_cpu ? kGpuTile : kCpuTile;
  // CPU drivers spread workgroups over threads, so one subgroup is enough there.
  const uint32_t workgroup =
      shares ? std::max(caps.subgroup_size, kMaxInvocations) : caps.subgroup_size;
  node.constants = {workgroup,   caps.subgroup_size, args.head_dim,
                    tile.n_keys, tile.n_queries,     pick_shared_keys(args.head_dim)};
  node.set_push(
      shaders::TowerAttentionPush{static_cast<uint32_t>(n_queries), args.n_keys, n_heads});
  node.grid = {
      static_cast<uint32_t>(div_up<uint64_t>(n_queries, uint64_t{workgroup} * tile.n_queries)),
      n_heads, 1};
  node.bytes_touched =
      args.q.n_bytes + args.y.n_bytes + 2 * uint64_t{args.n_keys} * width * sizeof(float);
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
