#include "kernels/soft_rows.hpp"

#include <array>

#include "kernels/row_elements.hpp"
#include "shaders/soft_rows.h"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr std::array kBindings{BindingDesc{"soft"}, BindingDesc{"sources"},
                               BindingDesc{"x", Access::write}};
constexpr std::array kVariants{Variant{"portable", "soft_rows"}};

}  // namespace

const graph::KernelDesc kSoftRows{"soft_rows", kBindings, sizeof(shaders::SoftRowsPush), kVariants};

void add_soft_rows(graph::Graph& graph, const Tensor& soft, const Tensor& sources, const Tensor& x,
                   std::string label) {
  KL_CHECK(soft.dtype == DType::f32 && soft.shape.rank() == 2 && soft.shape[1] == x.shape[1],
           "embeddings of another width");
  KL_CHECK((sources.dtype == DType::u32 && sources.shape == Shape{x.shape[0], 1}),
           "a source for each column");
  graph::Node node = make_element_node(graph, kSoftRows, x, std::move(label));
  node.tensors = {soft, sources, x};
  node.set_push(shaders::SoftRowsPush{count_vec4(x)});
  node.bytes_touched = 2 * x.n_bytes;
  graph.add(std::move(node));
}

}  // namespace kimberlite::kernels
