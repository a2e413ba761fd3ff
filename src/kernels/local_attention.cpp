#include "kernels/local_attention.hpp"

#include <array>

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"q"},     BindingDesc{"k"},
                               BindingDesc{"v"},     BindingDesc{"relative"},
                               BindingDesc{"scale"}, BindingDesc{"out", Access::write}};
constexpr std::array kVariants{Variant{"portable", "local_attention"}};

}  // namespace

const graph::KernelDesc kLocalAttention{"local_attention", kBindings,
                                        sizeof(shaders::LocalAttentionPush), kVariants};

void add_local_attention(graph::Graph& graph, const LocalAttention& args, std::string label) {
  const Shape& shape = args.q.shape;
  const uint64_t d = args.scale.shape[0];
  KL_CHECK(shape.rank() == 2 && d % 4 == 0 && shape[1] % d == 0, "heads of a multiple of 4");
  for (const Tensor& tensor : {args.q, args.k, args.v, args.out}) {
    KL_CHECK(tensor.dtype == DType::f32 && tensor.shape == shape, "rows of different shapes");
  }
  KL_CHECK(args.relative.shape.rank() == 2 && args.relative.shape[0] >= shaders::kLocalWindow &&
               args.relative.shape[1] == shape[1],
           "a relative key for each distance");
  KL_CHECK(args.q.n_elements() <= UINT32_MAX, "more elements than 32 bits count");

  graph::Node node;
  node.kernel = &kLocalAttention;
  node.variant = &graph.pick(kLocalAttention);
  node.label = std::move(label);
  node.tensors = {args.q, args.k, args.v, args.relative, args.scale, args.out};
  node.constants = {graph.caps().subgroup_size};
  node.set_push(shaders::LocalAttentionPush{static_cast<uint32_t>(d / 4), args.k_scale, args.cap});
  node.grid = {static_cast<uint32_t>(shape[1] / d), static_cast<uint32_t>(shape[0]), 1};
  node.bytes_touched = 4 * args.q.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
