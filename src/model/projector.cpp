#include "model/projector.hpp"

#include "kernels/embed.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/linear.hpp"
#include "kernels/rms_norm.hpp"

namespace kimberlite::model {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::LinearInput;

namespace {

constexpr float kLayerNormEps = 1e-5f;  // PyTorch's, in no file

}  // namespace

void add_projection(Graph& graph, const Tensor& x, const Tensor& ones, float eps,
                    const kernels::PackedMatrix& projection, const Tensor& embeddings,
                    const std::string& name) {
  LinearInput normed(graph, name + ".in", x.shape[0], x.shape[1], {&projection});
  kernels::add_rms_norm(graph, x, ones, normed.rows(), eps, name + ".norm");
  kernels::add_linear(graph, projection, normed, embeddings, name);
}

void add_patch_embeddings(Graph& graph, const ProjectorConfig& config,
                          const ProjectorWeights& weights, const PatchInputs& inputs,
                          const Tensor& embeddings) {
  const VisionConfig& vision = *config.vision;
  const VisionWeights& w = weights.vision();
  const uint64_t n = inputs.values.shape[0];
  const auto rows = [&](const char* name, uint64_t width) {
    return graph.transient(name, DType::f32, Shape{n, width});
  };
  const Tensor normed = rows("patch_norm", vision.n_values());
  kernels::add_layer_norm(graph,
                          {.x = inputs.values,
                           .weight = w.patch_norm.weight,
                           .bias = w.patch_norm.bias,
                           .y = normed,
                           .eps = kLayerNormEps},
                          "v.patch_norm.1");
  LinearInput patches(normed, "v.patch_embd.act");
  const Tensor embedded = rows("patch_embd", vision.width);
  kernels::add_linear(graph, w.patch, patches, embedded, "v.patch_embd");
  const Tensor placed = rows("patch", vision.width);
  kernels::add_layer_norm(graph,
                          {.x = embedded,
                           .shift = w.patch_bias,
                           .weight = w.embedding_norm.weight,
                           .bias = w.embedding_norm.bias,
                           .y = placed,
                           .eps = kLayerNormEps},
                          "v.patch_norm.2");
  const Tensor by_column = rows("column_embd", vision.width);
  const Tensor by_row = rows("row_embd", vision.width);
  kernels::add_embed(graph, w.positions, inputs.columns, by_column, 1.0f, "v.position_embd.x");
  kernels::add_embed(graph, w.positions, inputs.rows, by_row, 1.0f, "v.position_embd.y");
  const Tensor result = rows("position_norm", vision.width);
  kernels::add_layer_norm(graph,
                          {.x = placed,
                           .a = by_column,
                           .b = by_row,
                           .weight = w.position_norm.weight,
                           .bias = w.position_norm.bias,
                           .y = result,
                           .eps = kLayerNormEps},
                          "v.patch_norm.3");
  add_projection(graph, result, w.ones, vision.rms_eps, w.projection, embeddings,
                 "mm.input_projection");
}

void add_frame_embeddings(Graph& graph, const ProjectorConfig& config,
                          const ProjectorWeights& weights, const Tensor& frames,
                          const Tensor& embeddings) {
  const AudioWeights& w = weights.audio();
  add_projection(graph, frames, w.ones, config.audio->rms_eps, w.projection, embeddings,
                 "mm.a.input_projection");
}

}  // namespace kimberlite::model
