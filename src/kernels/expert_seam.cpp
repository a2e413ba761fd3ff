#include "kernels/expert_seam.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "kernels/linear.hpp"
#include "kernels/row_workgroup.hpp"
#include "shaders/expert_seam.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"delta"},
                               BindingDesc{"post"},
                               BindingDesc{"x", Access::read_write},
                               BindingDesc{"y", Access::write},
                               BindingDesc{"y_q", Access::write},
                               BindingDesc{"next"},
                               BindingDesc{"router_next"},
                               BindingDesc{"experts_next"},
                               BindingDesc{"experts_y", Access::write},
                               BindingDesc{"experts_y_q", Access::write},
                               BindingDesc{"codes", Access::read, true},
                               BindingDesc{"scale"},
                               BindingDesc{"scores", Access::read_write},
                               BindingDesc{"counters", Access::read_write},
                               BindingDesc{"experts", Access::read_write},
                               BindingDesc{"weights", Access::read_write},
                               BindingDesc{"tiles", Access::write},
                               BindingDesc{"slots", Access::write}};
constexpr std::array kVariants{Variant{"workgroup", "expert_seam_workgroup", has_workgroup_rows},
                               Variant{"portable", "expert_seam"}};

/// Experts of a workgroup: few enough to keep the device busy with a single row; in the portable
/// variant 8 for each lane, as in a product, and no more than a panel.
uint32_t pick_group(const Variant& variant, const vk::Caps& caps) {
  constexpr uint32_t kLaneExperts = 8;
  if (variant.name == "workgroup") return kLaneExperts;
  return std::min<uint32_t>(kPanelRows, kLaneExperts * caps.subgroup_size);
}

void check_seam(const ResidualNorm& args, const Tensor& experts_norm,
                const ActivationRows& experts_y, const ExpertRouter& router, const vk::Caps& caps) {
  const Shape& shape = args.x.shape;
  KL_CHECK(shape.rank() == 2 && shape[1] % 4 == 0, "rows of a multiple of 4");
  KL_CHECK(
      args.x.dtype == DType::f32 && args.delta.dtype == DType::f32 && args.delta.shape == shape,
      "rows of different shapes");
  for (const Tensor* norm : {&args.post, &args.next, &router.norm, &experts_norm}) {
    KL_CHECK(norm->dtype == DType::f32 && norm->shape == Shape{shape[1]},
             "a norm of another width");
  }
  check_activation_rows(args.y, caps, shape[0], shape[1]);
  check_activation_rows(experts_y, caps, shape[0], shape[1]);
  KL_CHECK(args.y.outputs() == experts_y.outputs(),
           "inputs of experts in another form than that of the seam");
  KL_CHECK(router.matrix.n_cols == shape[1], "a router of another width");
  KL_CHECK(router.scale.dtype == DType::f32 && router.scale.shape == Shape{router.matrix.n_rows},
           "a scale for each expert");
}

/// Whether one dispatch does for `n` rows.
bool can_join_seam(const graph::Graph& graph, const PackedMatrix& router, uint64_t n) {
  const bool reads =
      router.type == formats::GgmlType::f32 && router.scale == 1.0f && router.shards.size() == 1;
  return reads && n <= kMaxColumns && graph.caps().subgroup_size <= kPanelRows &&
         graph.can_use(kExpertSeam);
}

/// In a dispatch for each step.
ExpertRouting add_apart(graph::Graph& graph, const ResidualNorm& args, const ExpertInputs& inputs,
                        const ExpertRouter& router, const Tensor& weights,
                        const std::string& label) {
  add_expert_inputs(graph, args, inputs, label + ".inputs");
  LinearInput input(inputs.router_y, label + ".router");
  const Tensor scores =
      graph.transient(label + ".scores", DType::f32, Shape{args.x.shape[0], router.matrix.n_rows});
  add_linear(graph, router.matrix, input, scores, label + ".router");
  return add_expert_routing(graph, scores, router.scale, router.use, weights, label);
}

}  // namespace

const graph::KernelDesc kExpertSeam{"expert_seam", kBindings, sizeof(shaders::ExpertSeamPush),
                                    kVariants, &kExpertInputs};

ExpertRouting add_expert_seam(graph::Graph& graph, const ResidualNorm& args,
                              const Tensor& experts_norm, const ActivationRows& experts_y,
                              const ExpertRouter& router, const std::string& label) {
  const Tensor weights =
      graph.transient(label + ".weights", DType::f32, Shape{args.x.shape[0] * router.use.n_used});
  return add_expert_seam(graph, args, experts_norm, experts_y, router, weights, label);
}

ExpertRouting add_expert_seam(graph::Graph& graph, const ResidualNorm& args,
                              const Tensor& experts_norm, const ActivationRows& experts_y,
                              const ExpertRouter& router, const Tensor& weights,
                              const std::string& label) {
  check_seam(args, experts_norm, experts_y, router, graph.caps());
  const uint64_t n = args.x.shape[0];
  const uint64_t n_experts = router.matrix.n_rows;
  if (!can_join_seam(graph, router.matrix, n)) {
    const Tensor router_y = graph.transient(label + ".router_in", DType::f32, args.x.shape);
    return add_apart(graph, args, {router.norm, router_y, experts_norm, experts_y}, router, weights,
                     label);
  }
  const ExpertRouting routing =
      make_expert_routing(graph, n, n_experts, router.use, weights, label);
  const Tensor scores = graph.transient(label + ".scores", DType::f32, Shape{n, n_experts});
  graph::Node node;
  node.kernel = &kExpertSeam;
  node.variant = &graph.pick(kExpertSeam);
  node.label = label;
  node.tensors = {args.delta,
                  args.post,
                  args.x,
                  args.y.y(),
                  args.y.y_q(),
                  args.next,
                  router.norm,
                  experts_norm,
                  experts_y.y(),
                  experts_y.y_q(),
                  router.matrix.shards[0].codes,
                  router.scale,
                  scores,
                  graph.counters(n),
                  routing.experts,
                  routing.weights,
                  routing.tiles.tiles,
                  routing.tiles.slots};
  const uint32_t group = pick_group(*node.variant, graph.caps());
  node.constants = {row_workgroup_size(*node.variant, graph.caps()), args.y.outputs(), group,
                    graph.caps().subgroup_size};
  node.set_push(shaders::ExpertSeamPush{static_cast<uint32_t>(args.x.shape[1] / 4), args.eps,
                                        args.scale, static_cast<uint32_t>(n_experts),
                                        router.use.n_used,
                                        static_cast<uint32_t>(router.matrix.n_steps * 8)});
  node.grid = {static_cast<uint32_t>(div_up<uint64_t>(n_experts, group)), static_cast<uint32_t>(n),
               1};
  node.bytes_touched = args.delta.n_bytes + 2 * args.x.n_bytes + args.y.n_bytes() +
                       experts_y.n_bytes() + router.matrix.shards[0].codes.n_bytes +
                       2 * routing.experts.n_bytes;
  graph.add(std::move(node));
  return routing;
}

}  // namespace kimberlite::kernels
