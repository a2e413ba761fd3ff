#include "kernels/rope_2d.hpp"

#include <array>
#include <cmath>

#include "shaders/rope_2d.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"weight"}, BindingDesc{"places"}, BindingDesc{"table"},
                               BindingDesc{"x", Access::read_write}};
constexpr std::array kVariants{Variant{"portable", "rope_2d"}};

}  // namespace

const graph::KernelDesc kRope2d{"rope_2d", kBindings, sizeof(shaders::Rope2dPush), kVariants};

std::vector<float> make_rope_2d_table(uint32_t n_places, uint32_t head_dim, double theta) {
  std::vector<float> table;
  table.reserve(uint64_t{n_places} * (head_dim / 2));
  for (uint32_t place = 0; place < n_places; ++place) {
    for (uint32_t pair = 0; pair < head_dim / 4; ++pair) {
      const double angle = place * std::pow(theta, -4.0 * pair / head_dim);
      table.push_back(static_cast<float>(std::cos(angle)));
      table.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

void add_rope_2d(graph::Graph& graph, const Rope2d& args, std::string label) {
  const uint64_t n = args.x.shape[0];
  const uint64_t head_dim = args.weight.shape[0];
  KL_CHECK(args.x.dtype == DType::f32 && args.x.shape.rank() == 2 && head_dim % 4 == 0 &&
               args.x.shape[1] % head_dim == 0,
           "rows of whole heads of a multiple of 4");
  const bool rotates = args.places.valid();
  KL_CHECK(rotates == args.table.valid(), "places and their angles, or neither");
  if (rotates) {
    KL_CHECK((args.places.dtype == DType::u32 && args.places.shape == Shape{n, 2}),
             "a place for each row");
    KL_CHECK(args.table.dtype == DType::f32 && args.table.shape.rank() == 2 &&
                 args.table.shape[1] == head_dim / 2,
             "angles of another head");
  }
  const auto n_heads = static_cast<uint32_t>(args.x.shape[1] / head_dim);

  graph::Node node;
  node.kernel = &kRope2d;
  node.variant = &graph.pick(kRope2d);
  node.label = std::move(label);
  node.tensors = {args.weight, rotates ? args.places : args.weight,
                  rotates ? args.table : args.weight, args.x};
  node.constants = {graph.caps().subgroup_size, static_cast<uint32_t>(head_dim), rotates ? 1u : 0u};
  node.set_push(shaders::Rope2dPush{n_heads, args.eps});
  node.grid = {n_heads, static_cast<uint32_t>(n), 1};
  node.bytes_touched = 2 * args.x.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
