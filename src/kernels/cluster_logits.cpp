#include "kernels/cluster_logits.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "kernels/experts.hpp"
#include "shaders/cluster_logits.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"parts"}, BindingDesc{"clusters"}, BindingDesc{"rows"},
                               BindingDesc{"logits", Access::write}};
constexpr std::array kVariants{Variant{"portable", "cluster_logits"}};
static_assert(shaders::kMaxClusters == kMostExperts);

}  // namespace

const graph::KernelDesc kClusterLogits{"cluster_logits", kBindings,
                                       sizeof(shaders::ClusterLogitsPush), kVariants};

void add_cluster_logits(graph::Graph& graph, const ClusterLogits& args, std::string label) {
  const Tensor& logits = args.logits;
  KL_CHECK(logits.dtype == DType::f32 && logits.shape.rank() == 2, "logits are f32 [n, n_vocab]");
  const uint64_t n = logits.shape[0];
  const uint64_t n_slots = args.parts.shape[0];
  KL_CHECK(args.parts.dtype == DType::f32 && args.parts.shape.rank() == 2 && n_slots % n == 0,
           "a part for each chosen cluster of each column");
  KL_CHECK(args.clusters.dtype == DType::u32 && args.clusters.shape == Shape{n_slots},
           "a cluster for each part");
  KL_CHECK(args.rows.dtype == DType::u32 && args.rows.shape == Shape{logits.shape[1]},
           "a row for each token");
  KL_CHECK(args.n_clusters >= 1 && args.n_clusters <= kMostExperts, "clusters to choose from");
  graph::Node node;
  node.kernel = &kClusterLogits;
  node.variant = &graph.pick(kClusterLogits);
  node.label = std::move(label);
  node.tensors = {args.parts, args.clusters, args.rows, logits};
  node.constants = {std::min<uint32_t>(256, graph.caps().max_workgroup_size)};
  const auto n_vocab = static_cast<uint32_t>(logits.shape[1]);
  node.set_push(shaders::ClusterLogitsPush{args.n_clusters, static_cast<uint32_t>(n_slots / n),
                                           static_cast<uint32_t>(args.parts.shape[1]), n_vocab});
  node.grid = {div_up(n_vocab, shaders::kClusterTokens), static_cast<uint32_t>(n), 1};
  node.bytes_touched = args.parts.n_bytes + args.rows.n_bytes + logits.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
