// The table of tensors that a Gemma 4 decoder consists of: name, shape, where it goes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/config.hpp"
#include "model/linear_policy.hpp"
#include "vk/memory.hpp"

namespace kimberlite::kernels {
struct Bounds;
}  // namespace kimberlite::kernels

namespace kimberlite::model {

class DrafterWeights;
class ProjectorWeights;
class Weights;
struct ClippedLinearWeights;
struct ClusterConfig;
struct ConformerConfig;
struct ConformerLayerWeights;
struct ConformerWeights;
struct ConvolutionWeights;
struct DrafterConfig;
struct ExpertWeights;
struct HalfStepWeights;
struct LayerNormWeights;
struct LayerWeights;
struct ProjectorConfig;
struct TowerConfig;
struct TowerLayerWeights;
struct VisionConfig;
struct VisionWeights;

/// Consecutive rows of a matrix in the file.
struct RowPart {
  const formats::TensorInfo* source = nullptr;  // Borrowed from the file.
  uint64_t first_row = 0;
  uint64_t n_rows = 0;
};

/// One destination of tensors of the file. Exactly one of vector, matrix and scalar is set.
struct WeightEntry {
  static constexpr uint32_t kShared = UINT32_MAX;
  static constexpr uint32_t kTable = UINT32_MAX - 1;  // looked up by row: stays in host memory
  static constexpr uint32_t kNoRow = UINT32_MAX;

  std::string name;
  uint32_t layer = kShared;
  std::vector<const formats::TensorInfo*>
      sources;                      // Borrowed from the file; a matrix may have more
  std::vector<RowPart> parts;       // of a matrix: one part after the other, or
  bool gated = false;               // of each pair of parts kGatedRows in turn, or
  std::vector<uint32_t> order;      // of the one part the rows in this order; kNoRow: zeros
  graph::Tensor* vector = nullptr;  // Borrowed from Weights, like the two below.
  kernels::PackedMatrix* matrix = nullptr;
  float* scalar = nullptr;
  bool experts = false;               // the matrices of many experts, one behind the other
  bool is_embedding = false;          // looked up by row beside its products
  bool is_head = false;               // its products are wanted where tokens are drawn alone
  float factor = 1.0f;                // of a vector's values
  std::vector<uint32_t> words;        // of a vector of u32: its values
  kernels::PackedLayout layout;       // of a matrix
  std::vector<uint64_t> range_bytes;  // to allocate: a vector's one, a matrix's as in the layout

  [[nodiscard]] bool on_host(uint32_t n_gpu_layers) const {
    return layer != kShared && layer >= n_gpu_layers;
  }
  [[nodiscard]] uint64_t source_bytes() const;
  /// The rows from `row` of a matrix on that lie together in the file.
  [[nodiscard]] RowPart find_rows(uint64_t row) const;
};

class WeightTable {
 public:
  /// Every tensor of the config, checked against the file; destinations are members of `weights`.
  static Result<WeightTable> make(const formats::GgufFile& file, const ModelConfig& config,
                                  const vk::Caps& caps, const LinearPolicy& linear,
                                  Weights& weights);

  /// The same of a drafter.
  static Result<WeightTable> make(const formats::GgufFile& file, const DrafterConfig& config,
                                  const vk::Caps& caps, const LinearPolicy& linear,
                                  DrafterWeights& weights);

  /// The same of a projector.
  static Result<WeightTable> make(const formats::GgufFile& file, const ProjectorConfig& config,
                                  const vk::Caps& caps, const LinearPolicy& linear,
                                  ProjectorWeights& weights);

  [[nodiscard]] const std::vector<WeightEntry>& entries() const { return entries_; }

  /// Gives every destination its place on the device.
  Status allocate(vk::Arena& device, vk::Arena& host, uint32_t n_gpu_layers);

 private:
  WeightTable(const formats::GgufFile& file, const vk::Caps& caps, const LinearPolicy& linear)
      : file_(&file), caps_(&caps), linear_(linear) {}
  Status add_layer(uint32_t index, const ModelConfig& config, LayerWeights& weights);
  Status add_attention(uint32_t index, const ModelConfig& config, LayerWeights& weights);
  Status add_experts(uint32_t index, const ModelConfig& config, ExpertWeights& weights);
  Status add_per_layer(const ModelConfig& config, Weights& weights);
  Status add_cluster_head(const DrafterConfig& config, DrafterWeights& weights);
  Result<std::vector<uint32_t>> read_ordering(const formats::TensorInfo& tensor) const;
  Status add_vision(const VisionConfig& config, uint32_t target_width, VisionWeights& weights);
  /// The same with an encoder.
  Status add_tower(const VisionConfig& config, uint32_t target_width, VisionWeights& weights);
  Status add_tower_layer(uint32_t index, const VisionConfig& config, TowerLayerWeights& weights);
  Status add_patch_matrix(const TowerConfig& tower, uint64_t width, kernels::PackedMatrix& out);
  /// The places of patches: a table for columns, then one for rows, of n each.
  Status add_positions(uint64_t n, uint64_t width, kernels::PackedMatrix& out);
  Status add_layer_norm(const std::string& name, uint64_t n, LayerNormWeights& weights);
  /// What no file has: n times 1.
  void add_ones(uint64_t n, graph::Tensor& out);
  /// The same of any values.
  void add_words(std::string name, std::vector<uint32_t> words, graph::Shape shape,
                 graph::Tensor& out);
  Status add_conformer(const ConformerConfig& config, ConformerWeights& weights);
  Status add_conformer_layer(uint32_t index, const ConformerConfig& config,
                             ConformerLayerWeights& weights);
  Status add_half_step(const std::string& prefix, const std::string& suffix,
                       const ConformerConfig& config, HalfStepWeights& weights);
  Status add_convolution(uint32_t index, const ConformerConfig& config,
                         ConvolutionWeights& weights);
  /// A tensor of floats as `stored`: element i is element source_of(i) of the file's.
  Status add_reordered(const std::string& name, std::initializer_list<uint64_t> shape,
                       graph::Shape stored, const std::function<uint64_t(uint64_t)>& source_of,
                       graph::Tensor& out);
  /// STEM.weight [n_rows, n_cols] and what the file has of STEM.input_min, input_max, output_min
  /// and output_max.
  Status add_clipped_linear(const std::string& stem, uint64_t n_rows, uint64_t n_cols,
                            ClippedLinearWeights& out);
  Status read_bounds(const std::string& stem, kernels::Bounds& bounds) const;
  Result<const formats::TensorInfo*> find_floats(const std::string& name,
                                                 std::initializer_list<uint64_t> shape) const;
  Status add_floats(std::string name, uint32_t layer, uint64_t n);
  Status add_scalar(std::string name, uint32_t layer, float& out);
  Status add_vector(std::string name, uint32_t layer, uint64_t n, graph::Tensor& out);
  Status add_matrix(std::string name, uint32_t layer, uint64_t n_rows, uint64_t n_cols,
                    kernels::PackedMatrix& out);
  struct Wanted {
    std::string name;
    uint64_t n_rows = 0;
    kernels::PackedMatrix* out = nullptr;
  };
  /// Matrices [n_rows, n_cols] that multiply the same activations: neighbours of one type as one.
  Status add_joined(uint32_t layer, uint64_t n_cols, std::initializer_list<Wanted> matrices);
  /// Gate and up of one shape: as one gated matrix where they have one type.
  Status add_gated(uint32_t layer, uint64_t n_cols, const Wanted& gate, const Wanted& up);
  Status add_gated_experts(uint32_t index, const ModelConfig& config, ExpertWeights& weights);
  /// A tensor [n, n_rows, n_cols] as one matrix [n * n_rows, n_cols].
  Status add_experts_matrix(std::string name, uint32_t layer, std::initializer_list<uint64_t> shape,
                            kernels::PackedMatrix& out);
  Result<const formats::TensorInfo*> find_experts(const std::string& name,
                                                  std::initializer_list<uint64_t> shape) const;
  /// `order`: as of WeightEntry; `n_cols`: of a row, where that is not the file's (0).
  Status pack(std::string name, uint32_t layer, std::vector<RowPart> parts, bool gated,
              kernels::PackedMatrix& out, std::vector<uint32_t> order = {}, uint64_t n_cols = 0);
  Result<const formats::TensorInfo*> find(const std::string& name,
                                          std::initializer_list<uint64_t> shape) const;

  const formats::GgufFile* file_;  // Borrowed from the caller.
  const vk::Caps* caps_;           // Borrowed from the caller.
  LinearPolicy linear_;
  std::vector<WeightEntry> entries_;
};

}  // namespace kimberlite::model
