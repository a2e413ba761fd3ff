// DrafterWeights: every tensor of a drafter on the device, repacked.
#pragma once

#include <memory>
#include <vector>

#include "model/drafter_config.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {

class DrafterWeights {
 public:
  /// As Weights::plan, all of it on the device.
  static Result<WeightPlan> plan(const formats::GgufFile& file, const DrafterConfig& config,
                                 const vk::Caps& caps, const LinearPolicy& linear);

  /// As Weights::load; n_gpu_layers does not matter.
  static Result<std::unique_ptr<DrafterWeights>> load(const formats::GgufFile& file,
                                                      const DrafterConfig& config,
                                                      vk::Device& device,
                                                      const LoadOptions& options);

  [[nodiscard]] const kernels::PackedMatrix& pre_projection() const { return pre_projection_; }
  [[nodiscard]] const kernels::PackedMatrix& post_projection() const { return post_projection_; }
  [[nodiscard]] const graph::Tensor& output_norm() const { return output_norm_; }
  [[nodiscard]] const std::vector<LayerWeights>& layers() const { return layers_; }
  [[nodiscard]] const kernels::PackedMatrix& head() const { return head_; }
  [[nodiscard]] const kernels::PackedMatrix& centroids() const { return centroids_; }
  [[nodiscard]] const graph::Tensor& token_rows() const { return token_rows_; }
  [[nodiscard]] uint64_t n_bytes() const { return device_.n_bytes(); }

 private:
  friend class WeightTable;
  kernels::PackedMatrix pre_projection_;   // [width, 2 * target_width]
  kernels::PackedMatrix post_projection_;  // [target_width, width]
  graph::Tensor output_norm_;              // f32 [width]
  std::vector<LayerWeights> layers_;
  kernels::PackedMatrix head_;  // [n_vocab, width], or cluster by cluster, each [n_rows, width]
  kernels::PackedMatrix centroids_;  // [n, width] of a sparse head
  graph::Tensor token_rows_;         // u32 [n_vocab]: where each token is in a sparse head
  vk::Arena device_;
};

}  // namespace kimberlite::model
