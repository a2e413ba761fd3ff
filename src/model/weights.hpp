// Weights: every tensor of the decoder on the device, repacked. One table says which tensors a
// model must have and of which shape; planning, checking and loading all walk it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "graph/tensor.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/config.hpp"
#include "model/linear_policy.hpp"
#include "vk/memory.hpp"

namespace kimberlite::model {

/// The experts of a layer, their router, and the norms around them (26B-A4B). Experts follow one
/// another in a matrix.
struct ExpertWeights {
  graph::Tensor router_norm;     // f32 [width]: ffn_gate_inp.scale / sqrt(width)
  kernels::PackedMatrix router;  // ffn_gate_inp, [n, width]
  kernels::PackedMatrix gate;    // as of a layer, of one expert after the other
  kernels::PackedMatrix up;
  kernels::PackedMatrix down;  // [n * width, ffn_width]
  graph::Tensor scale;         // f32 [n]: ffn_down_exps.scale
  graph::Tensor dense_norm;    // f32 [width]: post_ffw_norm_1, of the MLP beside the experts
  graph::Tensor in_norm;       // f32 [width]: pre_ffw_norm_2
  graph::Tensor out_norm;      // f32 [width]: post_ffw_norm_2
};

/// Matrices of one type that multiply the same activations are packed as one, so that they take one
/// dispatch: k and v behind q or v behind k, which then has the rows of both, and up within gate
/// (kernels::PackedMatrix::gated). What is in another matrix has no rows of its own.
struct LayerWeights {
  graph::Tensor attn_norm;            // f32 [width]
  graph::Tensor q_norm;               // f32 [head_dim]
  graph::Tensor k_norm;               // f32 [head_dim]
  graph::Tensor post_attention_norm;  // f32 [width]
  graph::Tensor ffn_norm;             // f32 [width]
  graph::Tensor post_ffw_norm;        // f32 [width]
  kernels::PackedMatrix q;            // [n_heads * head_dim, width]
  kernels::PackedMatrix k;            // [n_kv_heads * head_dim, width]; unused: another layer's KV
  kernels::PackedMatrix v;            // as k; unused where K doubles as V
  kernels::PackedMatrix o;            // [width, n_heads * head_dim]
  kernels::PackedMatrix gate;         // [ffn_width, width]
  kernels::PackedMatrix up;           // [ffn_width, width]
  kernels::PackedMatrix down;         // [width, ffn_width]
  kernels::PackedMatrix per_layer_gate;  // inp_gate, [per_layer_width, width]; E2B and E4B
  kernels::PackedMatrix per_layer_proj;  // proj, [width, per_layer_width]
  graph::Tensor per_layer_norm;          // post_norm, f32 [width]
  ExpertWeights experts;
  float scale = 1.0f;  // layer_output_scale
};

/// The second embedding table of E2B and E4B, and what makes each layer's input of it.
struct PerLayerWeights {
  kernels::PackedMatrix table;  // [n_vocab, n_layers * per_layer_width], in host-visible memory
  kernels::PackedMatrix proj;   // [n_layers * per_layer_width, width]
  graph::Tensor norm;           // f32 [per_layer_width]
};

struct LoadOptions {
  uint32_t n_gpu_layers = UINT32_MAX;  // layers from here on go to host-visible memory
  LinearPolicy linear;
  bool dry = false;                      // places alone: nothing is read or written
  uint32_t n_threads = 0;                // for repacking; 0 = as many as the machine has
  std::function<void(double)> progress;  // fraction of the bytes done, from the caller's thread
  std::function<bool()> cancelled;
};

/// What loading will allocate, known before anything is.
struct WeightPlan {
  uint64_t device_bytes = 0;
  uint64_t host_bytes = 0;                 // weights that do not fit the GPU
  std::vector<uint64_t> layer_bytes;       // one for each layer
  uint64_t shared_bytes = 0;               // embedding, head and final norm
  uint64_t table_bytes = 0;                // per-layer embeddings: read row by row, never on a GPU
  std::set<kernels::MatrixKind> matrices;  // of products, the embedding's included
  std::set<kernels::MatrixKind> tables;    // of lookups
  std::set<kernels::MatrixKind> experts;   // of products with experts
  std::set<kernels::MatrixKind> gated;     // of products with gate and up
  /// Multiply-accumulates at a position of a prompt, where the head is not wanted; of experts as if
  /// all of them were chosen.
  std::map<kernels::LinearClass, uint64_t> position_macs;
  std::map<kernels::LinearClass, uint64_t> expert_macs;
};

class Weights {
 public:
  /// Checks every tensor against the table (missing, shape, type) and adds up the bytes. Pure.
  /// Errors: bad_file, unsupported; they name the tensor and both shapes or the type.
  static Result<WeightPlan> plan(const formats::GgufFile& file, const ModelConfig& config,
                                 const vk::Caps& caps, const LinearPolicy& linear,
                                 uint32_t n_gpu_layers);

  /// Reads, repacks and uploads everything; releases the file's pages on the way. Errors: as plan;
  /// out_of_memory, device, cancelled.
  static Result<std::unique_ptr<Weights>> load(const formats::GgufFile& file,
                                               const ModelConfig& config, vk::Device& device,
                                               const LoadOptions& options);

  [[nodiscard]] const kernels::PackedMatrix& embedding() const { return embedding_; }
  [[nodiscard]] const kernels::PackedMatrix& head() const {
    return head_.n_rows != 0 ? head_ : embedding_;
  }
  [[nodiscard]] const graph::Tensor& output_norm() const { return output_norm_; }
  [[nodiscard]] const PerLayerWeights& per_layer() const { return per_layer_; }
  [[nodiscard]] const std::vector<LayerWeights>& layers() const { return layers_; }
  [[nodiscard]] uint64_t n_bytes() const { return device_.n_bytes() + host_.n_bytes(); }

 private:
  friend class WeightTable;
  kernels::PackedMatrix embedding_;  // [n_vocab, width]
  kernels::PackedMatrix head_;       // [n_vocab, width]; empty where tied with the embedding
  graph::Tensor output_norm_;        // f32 [width]
  PerLayerWeights per_layer_;
  std::vector<LayerWeights> layers_;
  vk::Arena device_;
  vk::Arena host_;
};

}  // namespace kimberlite::model
