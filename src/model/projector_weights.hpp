// ProjectorWeights: every tensor of a projector on the device, repacked.
#pragma once

#include <memory>

#include "model/conformer_weights.hpp"
#include "model/projector_config.hpp"
#include "model/vision_tower_weights.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {

/// A real layer norm: the mean goes too.
struct LayerNormWeights {
  graph::Tensor weight;
  graph::Tensor bias;
};

struct VisionWeights {
  kernels::PackedMatrix patch;       // [width, n_values], or n_patch_values of an encoder
  kernels::PackedMatrix positions;   // [2 * n_positions, width]: columns, then rows
  graph::Tensor ones;                // f32 [width]: weights of the norm that has none
  kernels::PackedMatrix projection;  // [target_width, width]
  // Without an encoder.
  LayerNormWeights patch_norm;      // f32 [n_values]
  graph::Tensor patch_bias;         // f32 [width]
  LayerNormWeights embedding_norm;  // f32 [width]
  LayerNormWeights position_norm;   // f32 [width]
  TowerWeights tower;               // with one
};

struct AudioWeights {
  ConformerWeights conformer;        // with an encoder
  graph::Tensor ones;                // f32 [projected_width]
  kernels::PackedMatrix projection;  // [target_width, projected_width]
};

class ProjectorWeights {
 public:
  /// As Weights::plan, all of it on the device.
  static Result<WeightPlan> plan(const formats::GgufFile& file, const ProjectorConfig& config,
                                 const vk::Caps& caps, const LinearPolicy& linear);

  /// As Weights::load; n_gpu_layers does not matter.
  static Result<std::unique_ptr<ProjectorWeights>> load(const formats::GgufFile& file,
                                                        const ProjectorConfig& config,
                                                        vk::Device& device,
                                                        const LoadOptions& options);

  /// Of the modalities that the config has.
  [[nodiscard]] const VisionWeights& vision() const { return vision_; }
  [[nodiscard]] const AudioWeights& audio() const { return audio_; }
  [[nodiscard]] uint64_t n_bytes() const { return device_.n_bytes(); }

 private:
  friend class WeightTable;
  VisionWeights vision_;
  AudioWeights audio_;
  vk::Arena device_;
};

}  // namespace kimberlite::model
