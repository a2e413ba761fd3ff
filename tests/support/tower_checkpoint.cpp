// The names and keys here are the official ones, written down a second time: nothing is shared with
// the converter that they test.
#include "support/tower_checkpoint.hpp"

#include <fmt/format.h>

#include <map>
#include <string_view>
#include <vector>

#include "support/checkpoint_folder.hpp"

namespace kimberlite::testing {
namespace {

using nlohmann::json;
using synthetic::ProjectorShape;
using synthetic::TensorSpec;
using synthetic::TowerShape;

const std::map<std::string_view, std::string_view> kOfficial{
    {"v.patch_embd.weight", "vision_tower.patch_embedder.input_proj.weight"},
    {"v.position_embd.weight", "vision_tower.patch_embedder.position_embedding_table"},
    {"v.std_bias", "vision_tower.std_bias"},
    {"v.std_scale", "vision_tower.std_scale"},
    {"mm.input_projection.weight", "embed_vision.embedding_projection.weight"},
    {"ln1", "input_layernorm"},
    {"attn_post_norm", "post_attention_layernorm"},
    {"ln2", "pre_feedforward_layernorm"},
    {"ffn_post_norm", "post_feedforward_layernorm"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_out", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

std::string official_name(const TensorSpec& tensor) {
  constexpr std::string_view kLayer = "v.blk.";
  const std::string_view gguf = tensor.name;
  if (!gguf.starts_with(kLayer)) return fmt::format("model.{}", kOfficial.at(gguf));
  const size_t dot = gguf.find('.', kLayer.size());
  const std::string_view rest = gguf.substr(dot + 1);
  const size_t ending = rest.find('.');
  return fmt::format("model.vision_tower.encoder.layers.{}.{}{}{}",
                     gguf.substr(kLayer.size(), dot - kLayer.size()),
                     kOfficial.at(rest.substr(0, ending)), tensor.is_matrix ? ".linear" : "",
                     rest.substr(ending));
}

/// A pixel's colours side by side.
std::vector<float> interleaved(const std::vector<float>& planar) {
  constexpr size_t kPixels = size_t{TowerShape::kPatch} * TowerShape::kPatch;
  std::vector<float> values(planar.size());
  for (size_t i = 0; i < planar.size(); ++i) {
    const size_t row = i / (3 * kPixels), colour = i / kPixels % 3, pixel = i % kPixels;
    values[row * 3 * kPixels + pixel * 3 + colour] = planar[i];
  }
  return values;
}

/// In the file's order, the slowest first; a bound has none.
std::vector<uint64_t> official_shape(const TensorSpec& tensor) {
  if (tensor.ne.size() == 4) return {tensor.ne[3], tensor.ne[0] * tensor.ne[1] * tensor.ne[2]};
  if (tensor.ne == std::vector<uint64_t>{1}) return {};
  return {tensor.ne.rbegin(), tensor.ne.rend()};
}

json config_of(const ProjectorShape& shape) {
  const TowerShape& tower = *shape.tower;
  const json vision = {{"model_type", "gemma4_vision"},
                       {"hidden_size", shape.hidden},
                       {"intermediate_size", tower.ffn},
                       {"num_hidden_layers", tower.n_layers},
                       {"num_attention_heads", tower.n_heads},
                       {"num_key_value_heads", tower.n_heads},
                       {"head_dim", shape.hidden / tower.n_heads},
                       {"hidden_activation", "gelu_pytorch_tanh"},
                       {"attention_bias", false},
                       {"rms_norm_eps", 1e-6},
                       {"rope_parameters", {{"rope_theta", 100.0}, {"rope_type", "default"}}},
                       {"patch_size", TowerShape::kPatch},
                       {"pooling_kernel_size", 3},
                       {"position_embedding_size", shape.n_positions},
                       {"use_clipped_linears", tower.clips},
                       {"standardize", tower.standardises}};
  return {{"model_type", "gemma4"},
          {"text_config", {{"hidden_size", shape.target_hidden}}},
          {"vision_config", vision},
          {"audio_config", nullptr}};
}

}  // namespace

Status write_tower_checkpoint(const ProjectorShape& shape, uint64_t seed,
                              const std::string& folder) {
  CheckpointFolder checkpoint;
  for (const TensorSpec& tensor : list_projector_tensors(shape)) {
    std::vector<float> values = make_projector_values(seed, tensor);
    if (tensor.ne.size() == 4) values = interleaved(values);
    checkpoint.add(official_name(tensor), official_shape(tensor), values);
  }
  return checkpoint.write(config_of(shape), folder);
}

}  // namespace kimberlite::testing
