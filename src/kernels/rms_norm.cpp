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

constexpr std::array kNormBindings{BindingDesc{"x", Access::read}, BindingDesc{"weight"},
                                   BindingDesc{"y", Access::write}};
constexpr std::array kNormVariants{Variant{"workgroup", "rms_norm_workgroup", has_workgroup_rows},
                                   Variant{"portable", "rms_norm"}};

constexpr std::array kResidualBindings{BindingDesc{"delta"}, BindingDesc{"post"},
                                       BindingDesc{"x", Access::read_write}, BindingDesc{"next"},
                                       BindingDesc{"y", Access::write}};
constexpr std::array kResidualVariants{
    Variant{"workgroup", "residual_norm_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_norm"}};
constexpr std::array kAddBindings{BindingDesc{"delta"}, BindingDesc{"post"},
                                  BindingDesc{"x", Access::read_write}};
constexpr std::array kAddVariants{
    Variant{"workgroup", "residual_add_workgroup", has_workgroup_rows},
    Variant{"portable", "residual_add"}};

void check_rows(const Tensor& tensor, const Tensor& like) {
  KL_CHECK(tensor.dtype == DType::f32 && tensor.shape == like.shape, "rows of different shapes");
}

void check_weight(const Tensor& weight, uint64_t width) {
  KL_CHECK(weight.dtype == DType::f32 && weight.shape == Shape{width}, "a norm of another width");
}

}  // namespace

const graph::KernelDesc kRmsNorm{"rms_norm", kNormBindings, sizeof(shaders::RmsNormPush),
                                 kNormVariants};
const graph::KernelDesc kResidualNorm{"residual_norm", kResidualBindings,
                                      sizeof(shaders::ResidualNormPush), kResidualVariants};
const graph::KernelDesc kResidualAdd{"residual_add", kAddBindings,
                                     sizeof(shaders::ResidualNormPush), kAddVariants};

void add_rms_norm(graph::Graph& graph, const Tensor& x, const Tensor& weight, const Tensor& y,
                  float eps, std::string label) {
  KL_CHECK(x.shape.rank() == 2 && x.shape[1] % 4 == 0, "rows of a multiple of 4");
  check_rows(y, x);
  check_weight(weight, x.shape[1]);

  graph::Node node;
  node.kernel = &kRmsNorm;
  node.variant = &graph.pick(kRmsNorm);
  node.label = std::move(label);
  node.tensors = {x, weight, y};
  node.constants = {row_workgroup_size(*node.variant, graph.caps())};
  node.set_push(shaders::RmsNormPush{static_cast<uint32_t>(x.shape[1] / 4), eps});
  node.grid = {static_cast<uint32_t>(x.shape[0]), 1, 1};
  node.bytes_touched = x.n_bytes + weight.n_bytes + y.n_bytes;
  graph.add(std::move(node));
}

void add_residual_norm(graph::Graph& graph, const ResidualNorm& args, std::string label) {
  const Shape& shape = args.x.shape;
  KL_CHECK(shape.rank() == 2 && shape[1] % 4 == 0, "rows of a multiple of 4");
  check_rows(args.delta, args.x);
  check_weight(args.post, shape[1]);
  const bool norms = args.next.valid();
  const graph::KernelDesc& kernel = norms ? kResidualNorm : kResidualAdd;

  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = std::move(label);
  node.tensors = {args.delta, args.post, args.x};
  if (norms) {
    check_rows(args.y, args.x);
    check_weight(args.next, shape[1]);
    node.tensors.insert(node.tensors.end(), {args.next, args.y});
  }
  node.constants = {row_workgroup_size(*node.variant, graph.caps())};
  node.set_push(
      shaders::ResidualNormPush{static_cast<uint32_t>(shape[1] / 4), args.eps, args.scale});
  node.grid = {static_cast<uint32_t>(shape[0]), 1, 1};
  node.bytes_touched = args.delta.n_bytes + 2 * args.x.n_bytes + args.y.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
