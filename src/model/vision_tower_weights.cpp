// The tensors of the encoder of pictures: its part of WeightTable.
#include <fmt/format.h>

#include "model/projector_keys.hpp"
#include "model/projector_weights.hpp"
#include "model/weight_table.hpp"

namespace kimberlite::model {

Status WeightTable::add_tower(const VisionConfig& config, uint32_t target_width,
                              VisionWeights& weights) {
  constexpr uint32_t kShared = WeightEntry::kShared;
  const TowerConfig& tower = *config.tower;
  const uint64_t width = config.width;
  KL_TRY(add_patch_matrix(tower, width, weights.patch));
  KL_TRY(add_positions(tower.n_positions, width, weights.positions));
  weights.tower.layers.resize(tower.n_layers);
  for (uint32_t i = 0; i < tower.n_layers; ++i) {
    KL_TRY(add_tower_layer(i, config, weights.tower.layers[i]));
  }
  add_ones(tower.head_dim, weights.tower.head_ones);
  if (tower.standardises) {
    KL_TRY(add_vector("v.std_bias", kShared, width, weights.tower.std_bias));
    KL_TRY(add_vector("v.std_scale", kShared, width, weights.tower.std_factor));
  }
  add_ones(width, weights.ones);
  return add_matrix("mm.input_projection.weight", kShared, target_width, width, weights.projection);
}

/// A convolution's kernel whose steps are as wide as itself: a row for each output.
Status WeightTable::add_patch_matrix(const TowerConfig& tower, uint64_t width,
                                     kernels::PackedMatrix& out) {
  const std::string name = "v.patch_embd.weight";
  const uint64_t n_values = tower.n_patch_values();
  const formats::TensorInfo* flat = file_->find_tensor(name);
  if (flat != nullptr && flat->n_dims == 2) {
    return add_matrix(name, WeightEntry::kShared, width, n_values, out);
  }
  KL_ASSIGN(const formats::TensorInfo* source, find(name, {width, 3, tower.patch, tower.patch}));
  if (formats::traits(source->type).block_elems != 1) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {}: expected f32, f16 or bf16, file has {}", file_->path(), name,
                             formats::traits(source->type).name)};
  }
  return pack(name, WeightEntry::kShared, {{source, 0, width}}, /*gated=*/false, out, {}, n_values);
}

Status WeightTable::add_tower_layer(uint32_t index, const VisionConfig& config,
                                    TowerLayerWeights& weights) {
  const TowerConfig& tower = *config.tower;
  const uint64_t width = config.width;
  const auto vector = [&](std::string_view part, uint64_t n, graph::Tensor& out) {
    return add_vector(fmt::format("v.blk.{}.{}.weight", index, part), WeightEntry::kShared, n, out);
  };
  const auto linear = [&](std::string_view part, uint64_t n_rows, uint64_t n_cols,
                          ClippedLinearWeights& out) {
    return add_clipped_linear(fmt::format("v.blk.{}.{}", index, part), n_rows, n_cols, out);
  };
  KL_TRY(vector("ln1", width, weights.attn_norm));
  KL_TRY(linear("attn_q", width, width, weights.q));
  KL_TRY(linear("attn_k", width, width, weights.k));
  KL_TRY(linear("attn_v", width, width, weights.v));
  KL_TRY(vector("attn_q_norm", tower.head_dim, weights.q_norm));
  KL_TRY(vector("attn_k_norm", tower.head_dim, weights.k_norm));
  KL_TRY(linear("attn_out", width, width, weights.o));
  KL_TRY(vector("attn_post_norm", width, weights.post_attn_norm));
  KL_TRY(vector("ln2", width, weights.ffn_norm));
  KL_TRY(linear("ffn_gate", tower.ffn_width, width, weights.gate));
  KL_TRY(linear("ffn_up", tower.ffn_width, width, weights.up));
  KL_TRY(linear("ffn_down", width, tower.ffn_width, weights.down));
  return vector("ffn_post_norm", width, weights.post_ffn_norm);
}

}  // namespace kimberlite::model
