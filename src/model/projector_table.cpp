// The tensors of a projector: the part of WeightTable that is about pictures and sounds.
#include <bit>

#include "model/projector_keys.hpp"
#include "model/projector_weights.hpp"
#include "model/weight_table.hpp"

namespace kimberlite::model {

Result<WeightTable> WeightTable::make(const formats::GgufFile& file, const ProjectorConfig& config,
                                      const vk::Caps& caps, const LinearPolicy& linear,
                                      ProjectorWeights& weights) {
  WeightTable table(file, caps, linear);
  if (config.vision) {
    KL_TRY(table.add_vision(*config.vision, config.target_width, weights.vision_));
  }
  if (config.audio) {
    const AudioConfig& audio = *config.audio;
    if (audio.conformer) KL_TRY(table.add_conformer(*audio.conformer, weights.audio_.conformer));
    table.add_ones(audio.projected_width(), weights.audio_.ones);
    KL_TRY(table.add_matrix("mm.a.input_projection.weight", WeightEntry::kShared,
                            config.target_width, audio.projected_width(),
                            weights.audio_.projection));
  }
  return table;
}

Status WeightTable::add_vision(const VisionConfig& config, uint32_t target_width,
                               VisionWeights& weights) {
  if (config.tower) return add_tower(config, target_width, weights);
  constexpr uint32_t kShared = WeightEntry::kShared;
  const uint64_t width = config.width;
  KL_TRY(add_layer_norm("v.patch_norm.1", config.n_values(), weights.patch_norm));
  KL_TRY(add_matrix("v.patch_embd.weight", kShared, width, config.n_values(), weights.patch));
  KL_TRY(add_vector("v.patch_embd.bias", kShared, width, weights.patch_bias));
  KL_TRY(add_layer_norm("v.patch_norm.2", width, weights.embedding_norm));
  KL_TRY(add_positions(config.n_positions, width, weights.positions));
  KL_TRY(add_layer_norm("v.patch_norm.3", width, weights.position_norm));
  add_ones(width, weights.ones);
  return add_matrix("mm.input_projection.weight", kShared, target_width, width, weights.projection);
}

Status WeightTable::add_positions(uint64_t n, uint64_t width, kernels::PackedMatrix& out) {
  const std::string name(kPatchPositions);
  KL_ASSIGN(const formats::TensorInfo* table, find(name, {2, n, width}));
  return pack(name, WeightEntry::kTable, {{table, 0, 2 * n}}, /*gated=*/false, out);
}

Status WeightTable::add_layer_norm(const std::string& name, uint64_t n, LayerNormWeights& weights) {
  KL_TRY(add_vector(name + ".weight", WeightEntry::kShared, n, weights.weight));
  return add_vector(name + ".bias", WeightEntry::kShared, n, weights.bias);
}

void WeightTable::add_ones(uint64_t n, graph::Tensor& out) {
  add_words("ones", std::vector(n, std::bit_cast<uint32_t>(1.0f)), graph::Shape{n}, out);
}

void WeightTable::add_words(std::string name, std::vector<uint32_t> words, graph::Shape shape,
                            graph::Tensor& out) {
  WeightEntry entry;
  entry.name = std::move(name);
  entry.words = std::move(words);
  entry.vector = &out;
  entry.range_bytes = {shape.n_elements() * sizeof(uint32_t)};
  out.shape = shape;
  entries_.push_back(std::move(entry));
}

}  // namespace kimberlite::model
