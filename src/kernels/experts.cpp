#include "kernels/experts.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "kernels/matvec.hpp"
#include "shaders/experts.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kRouteBindings{BindingDesc{"scores"},
                                    BindingDesc{"scale"},
                                    BindingDesc{"experts", Access::read_write},
                                    BindingDesc{"weights", Access::read_write},
                                    BindingDesc{"tiles", Access::write},
                                    BindingDesc{"slots", Access::write}};
constexpr std::array kRouteVariants{Variant{"portable", "expert_route"}};
constexpr std::array kTilesBindings{BindingDesc{"experts"}, BindingDesc{"tiles", Access::write},
                                    BindingDesc{"slots", Access::write}};
constexpr std::array kTilesVariants{Variant{"portable", "expert_tiles"}};

static_assert(shaders::kMaxExperts == kMostExperts);

/// The most tiles that slots of `n_experts` can make: each used expert may leave one unfilled.
uint64_t count_tiles(uint64_t n_slots, uint64_t n_experts, uint64_t tile_columns) {
  return (n_slots + std::min(n_experts, n_slots) * (tile_columns - 1)) / tile_columns;
}

void add_route(graph::Graph& graph, const Tensor& scores, const Tensor& scale,
               const ExpertRouting& routing, uint32_t n_used, std::string label) {
  graph::Node node;
  node.kernel = &kExpertRoute;
  node.variant = &graph.pick(kExpertRoute);
  node.label = std::move(label);
  const bool own_tiles = routing.tiles.tiling.columns == 1;
  node.tensors = {scores,
                  scale.valid() ? scale : scores,
                  routing.experts,
                  routing.weights,
                  own_tiles ? routing.tiles.tiles : routing.experts,
                  own_tiles ? routing.tiles.slots : routing.experts};
  node.constants = {graph.caps().subgroup_size, own_tiles, scale.valid()};
  node.set_push(shaders::ExpertRoutePush{static_cast<uint32_t>(scores.shape[1]), n_used});
  node.grid = {static_cast<uint32_t>(scores.shape[0]), 1, 1};
  node.bytes_touched = scores.n_bytes + 2 * routing.experts.n_bytes;
  graph.add(std::move(node));
}

void add_tiles(graph::Graph& graph, const ExpertRouting& routing, uint64_t n_experts,
               std::string label) {
  const ExpertTiles& tiles = routing.tiles;
  graph::Node node;
  node.kernel = &kExpertTiles;
  node.variant = &graph.pick(kExpertTiles);
  node.label = std::move(label);
  node.tensors = {routing.experts, tiles.tiles, tiles.slots};
  node.constants = {std::min<uint32_t>(128, graph.caps().max_workgroup_size)};
  node.set_push(shaders::ExpertTilesPush{
      static_cast<uint32_t>(n_experts), static_cast<uint32_t>(tiles.slots.shape[0]),
      tiles.tiling.columns, static_cast<uint32_t>(tiles.tiles.shape[0])});
  node.bytes_touched = 2 * tiles.slots.n_bytes + tiles.tiles.n_bytes;
  graph.add(std::move(node));
}

}  // namespace

const graph::KernelDesc kExpertRoute{"expert_route", kRouteBindings,
                                     sizeof(shaders::ExpertRoutePush), kRouteVariants};
const graph::KernelDesc kExpertTiles{"expert_tiles", kTilesBindings,
                                     sizeof(shaders::ExpertTilesPush), kTilesVariants};

ExpertRouting add_expert_routing(graph::Graph& graph, const Tensor& scores, const Tensor& scale,
                                 const ExpertUse& use, const std::string& label) {
  const Tensor weights =
      graph.transient(label + ".weights", DType::f32, Shape{scores.shape[0] * use.n_used});
  return add_expert_routing(graph, scores, scale, use, weights, label);
}

ExpertRouting make_expert_routing(graph::Graph& graph, uint64_t n, uint64_t n_experts,
                                  const ExpertUse& use, const Tensor& weights,
                                  const std::string& label) {
  const uint32_t n_used = use.n_used;
  KL_CHECK(n_experts <= kMostExperts && n_used >= 1 && n_used <= n_experts, "experts to choose");
  const uint64_t n_slots = n * n_used;
  KL_CHECK(weights.dtype == DType::f32 && weights.shape == Shape{n_slots},
           "a weight for each slot");
  ExpertTiling tiling;  // a slot a tile where columns must not depend on each other
  if (n > kMaxColumns) {
    tiling = pick_expert_tiling(graph, use.matrices, div_up(n_slots, n_experts));
  }
  ExpertRouting routing;
  routing.experts = graph.transient(label + ".experts", DType::u32, Shape{n_slots});
  routing.weights = weights;
  routing.tiles = {graph.transient(label + ".tiles", DType::u32,
                                   {count_tiles(n_slots, n_experts, tiling.columns), 3}),
                   graph.transient(label + ".slots", DType::u32, Shape{n_slots}), tiling};
  return routing;
}

ExpertRouting add_expert_routing(graph::Graph& graph, const Tensor& scores, const Tensor& scale,
                                 const ExpertUse& use, const Tensor& weights,
                                 const std::string& label) {
  KL_CHECK(scores.dtype == DType::f32 && scores.shape.rank() == 2, "scores are f32 [n, n_experts]");
  const uint64_t n_experts = scores.shape[1];
  KL_CHECK(!scale.valid() || (scale.dtype == DType::f32 && scale.shape == Shape{n_experts}),
           "a scale for each expert");
  const ExpertRouting routing =
      make_expert_routing(graph, scores.shape[0], n_experts, use, weights, label);
  add_route(graph, scores, scale, routing, use.n_used, label);
  if (routing.tiles.tiling.columns > 1) add_tiles(graph, routing, n_experts, label + ".tiles");
  return routing;
}

}  // namespace kimberlite::kernels
