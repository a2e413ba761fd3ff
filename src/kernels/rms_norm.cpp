#include "kernels/rms_norm.hpp"

#include <array>

#include "kernels/row_workgroup.hpp"
#include "shaders/residual_norm.h"
#include "shaders/rms_norm.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr BindingDesc kY{"y", Access::write};
constexpr BindingDesc kYq{"y_q", Access::write};
constexpr BindingDesc kX{"x", Access::read_write};

constexpr std::array kNormBindings{BindingDesc{"x"}, BindingDesc{"weight"}, kY, kYq};
constexpr std::array kNormVariants{Variant{"workgroup", "rms_norm_workgroup", has_workgroup_rows},
                                   Variant{"portable", "rms_norm"}};

constexpr std::array kResidualBindings{BindingDesc{"delta"}, BindingDesc{"post"}, kX, kY, kYq,
                                       BindingDesc{"next"}};
constexpr std::array kResidualVariants{
    Variant{"workgroup", "residual_norm_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_norm"}};
constexpr std::array kAddVariants{
    Variant{"workgroup", "residual_add_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_add"}};

constexpr std::array kPlainVariants{
    Variant{"workgroup", "residual_plain_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_plain"}};

constexpr std::array kInputsBindings{BindingDesc{"delta"},
                                     BindingDesc{"post"},
                                     kX,
                                     kY,
                                     kYq,
                                     BindingDesc{"next"},
                                     BindingDesc{"router_next"},
                                     BindingDesc{"router_y", Access::write},
                                     BindingDesc{"experts_next"},
                                     BindingDesc{"experts_y", Access::write},
                                     BindingDesc{"experts_y_q", Access::write}};
constexpr std::array kInputsVariants{
    Variant{"workgroup", "residual_expert_inputs_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_expert_inputs"}};
constexpr std::array kSumBindings{BindingDesc{"delta", Access::read_write},
                                  BindingDesc{"post"},
                                  kX,
                                  kY,
                                  kYq,
                                  BindingDesc{"next"},
                                  BindingDesc{"mlp"},
                                  BindingDesc{"mlp_norm"},
                                  BindingDesc{"outs"},
                                  BindingDesc{"outs_norm"},
                                  BindingDesc{"weights"}};
constexpr std::array kSumVariants{
    Variant{"workgroup", "residual_expert_sum_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_expert_sum"}};

void check_rows(const Tensor& tensor, const Tensor& like) {
  KL_CHECK(tensor.dtype == DType::f32 && tensor.shape == like.shape, "rows of different shapes");
}

void check_weight(const Tensor& weight, uint64_t width) {
  KL_CHECK(weight.dtype == DType::f32 && weight.shape == Shape{width}, "a norm of another width");
}

/// A seam without the tensors that its kernel has besides the first six.
graph::Node make_seam(const graph::Graph& graph, const graph::KernelDesc& kernel,
                      const ResidualNorm& args, uint32_t n_used, std::string label) {
  const Shape& shape = args.x.shape;
  KL_CHECK(shape.rank() == 2 && shape[1] % 4 == 0, "rows of a multiple of 4");
  check_rows(args.delta, args.x);
  const Tensor& post = args.post.valid() ? args.post : args.next;
  check_weight(post, shape[1]);
  const uint32_t outputs = args.y.outputs();
  if (outputs != 0) check_activation_rows(args.y, graph.caps(), shape[0], shape[1]);
  if (args.next.valid()) check_weight(args.next, shape[1]);

  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = std::move(label);
  node.tensors = {args.delta,
                  post,
                  args.x,
                  outputs != 0 ? args.y.y() : args.x,
                  outputs != 0 ? args.y.y_q() : args.x,
                  args.next.valid() ? args.next : post};
  node.constants = {row_workgroup_size(*node.variant, graph.caps()), outputs};
  node.set_push(
      shaders::ResidualNormPush{static_cast<uint32_t>(shape[1] / 4), args.eps, args.scale, n_used});
  node.grid = {static_cast<uint32_t>(shape[0]), 1, 1};
  node.bytes_touched = args.delta.n_bytes + 2 * args.x.n_bytes + args.y.n_bytes();
  return node;
}

}  // namespace

const graph::KernelDesc kRmsNorm{"rms_norm", kNormBindings, sizeof(shaders::RmsNormPush),
                                 kNormVariants};
const graph::KernelDesc kResidualNorm{"residual_norm", kResidualBindings,
                                      sizeof(shaders::ResidualNormPush), kResidualVariants};
const graph::KernelDesc kResidualAdd{"residual_add", kResidualBindings,
                                     sizeof(shaders::ResidualNormPush), kAddVariants};
const graph::KernelDesc kResidualPlain{"residual_plain", kResidualBindings,
                                       sizeof(shaders::ResidualNormPush), kPlainVariants};
const graph::KernelDesc kExpertInputs{"expert_inputs", kInputsBindings,
                                      sizeof(shaders::ResidualNormPush), kInputsVariants};
const graph::KernelDesc kExpertSum{"expert_sum", kSumBindings, sizeof(shaders::ResidualNormPush),
                                   kSumVariants};

void add_rms_norm(graph::Graph& graph, const Tensor& x, const Tensor& weight,
                  const ActivationRows& y, float eps, std::string label) {
  KL_CHECK(x.dtype == DType::f32 && x.shape.rank() == 2 && x.shape[1] % 4 == 0,
           "rows of a multiple of 4");
  check_activation_rows(y, graph.caps(), x.shape[0], x.shape[1]);
  check_weight(weight, x.shape[1]);

  graph::Node node;
  node.kernel = &kRmsNorm;
  node.variant = &graph.pick(kRmsNorm);
  node.label = std::move(label);
  node.tensors = {x, weight, y.y(), y.y_q()};
  node.constants = {row_workgroup_size(*node.variant, graph.caps()), y.outputs()};
  node.set_push(shaders::RmsNormPush{static_cast<uint32_t>(x.shape[1] / 4), eps});
  node.grid = {static_cast<uint32_t>(x.shape[0]), 1, 1};
  node.bytes_touched = x.n_bytes + weight.n_bytes + y.n_bytes();
  graph.add(std::move(node));
}

void add_residual_norm(graph::Graph& graph, const ResidualNorm& args, std::string label) {
  const bool norms = args.next.valid();
  KL_CHECK(norms ? args.y.outputs() != 0 : !args.y.f32.valid(),
           "a norm has a result; without a norm x itself is the float32 result");
  KL_CHECK(norms || args.post.valid(), "a seam without any norm");
  const graph::KernelDesc& summed = norms ? kResidualNorm : kResidualAdd;
  const graph::KernelDesc& kernel = args.post.valid() ? summed : kResidualPlain;
  graph.add(make_seam(graph, kernel, args, 0, std::move(label)));
}

void add_expert_inputs(graph::Graph& graph, const ResidualNorm& args, const ExpertInputs& inputs,
                       std::string label) {
  const uint64_t width = args.x.shape[1];
  check_rows(inputs.router_y, args.x);
  check_weight(inputs.router_norm, width);
  check_weight(inputs.experts_norm, width);
  check_activation_rows(inputs.experts_y, graph.caps(), args.x.shape[0], width);
  KL_CHECK(args.next.valid() && args.y.outputs() == inputs.experts_y.outputs(),
           "inputs of experts in another form than that of the seam");
  graph::Node node = make_seam(graph, kExpertInputs, args, 0, std::move(label));
  node.tensors.insert(node.tensors.end(), {inputs.router_norm, inputs.router_y, inputs.experts_norm,
                                           inputs.experts_y.y(), inputs.experts_y.y_q()});
  node.bytes_touched += inputs.router_y.n_bytes + inputs.experts_y.n_bytes();
  graph.add(std::move(node));
}

void add_expert_sum(graph::Graph& graph, const ExpertSum& sum, const ResidualNorm& args,
                    std::string label) {
  const uint64_t n = args.x.shape[0];
  const uint64_t width = args.x.shape[1];
  check_rows(sum.mlp, args.x);
  check_weight(sum.mlp_norm, width);
  check_weight(sum.outs_norm, width);
  const uint64_t n_slots = sum.weights.n_elements();
  KL_CHECK(n_slots % n == 0, "as many experts for each row");
  KL_CHECK(sum.outs.dtype == DType::f32 && sum.outs.shape == (Shape{n_slots, width}),
           "a row for each slot");
  KL_CHECK(args.next.valid(), "the norm of what follows");
  const auto n_used = static_cast<uint32_t>(n_slots / n);
  graph::Node node = make_seam(graph, kExpertSum, args, n_used, std::move(label));
  node.tensors.insert(node.tensors.end(),
                      {sum.mlp, sum.mlp_norm, sum.outs, sum.outs_norm, sum.weights});
  node.bytes_touched += sum.mlp.n_bytes + sum.outs.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
