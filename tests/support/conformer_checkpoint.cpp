// The names and keys here are the official ones, written down a second time: nothing is shared with
// the converter that they test.
#include "support/conformer_checkpoint.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <string_view>
#include <vector>

#include "support/checkpoint_folder.hpp"

namespace kimberlite::testing {
namespace {

using nlohmann::json;
using synthetic::ConformerShape;
using synthetic::TensorSpec;

const std::map<std::string_view, std::string_view> kEdges{
    {"a.conv1d.0.weight", "audio_tower.subsample_conv_projection.layer0.conv.weight"},
    {"a.conv1d.0.norm.weight", "audio_tower.subsample_conv_projection.layer0.norm.weight"},
    {"a.conv1d.1.weight", "audio_tower.subsample_conv_projection.layer1.conv.weight"},
    {"a.conv1d.1.norm.weight", "audio_tower.subsample_conv_projection.layer1.norm.weight"},
    {"a.input_projection.weight", "audio_tower.subsample_conv_projection.input_proj_linear.weight"},
    {"a.pre_encode.out.weight", "audio_tower.output_proj.weight"},
    {"a.pre_encode.out.bias", "audio_tower.output_proj.bias"},
    {"mm.a.input_projection.weight", "embed_audio.embedding_projection.weight"},
};
const std::map<std::string_view, std::string_view> kParts{
    {"ffn_norm", "feed_forward1.pre_layer_norm"},
    {"ffn_up", "feed_forward1.ffw_layer_1"},
    {"ffn_down", "feed_forward1.ffw_layer_2"},
    {"ffn_post_norm", "feed_forward1.post_layer_norm"},
    {"ffn_norm_1", "feed_forward2.pre_layer_norm"},
    {"ffn_up_1", "feed_forward2.ffw_layer_1"},
    {"ffn_down_1", "feed_forward2.ffw_layer_2"},
    {"ffn_post_norm_1", "feed_forward2.post_layer_norm"},
    {"attn_pre_norm", "norm_pre_attn"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_out", "self_attn.post"},
    {"attn_k_rel", "self_attn.relative_k_proj"},
    {"attn_post_norm", "norm_post_attn"},
    {"conv_norm", "lconv1d.pre_layer_norm"},
    {"conv_pw1", "lconv1d.linear_start"},
    {"conv_dw", "lconv1d.depthwise_conv1d"},
    {"norm_conv", "lconv1d.conv_norm"},
    {"conv_pw2", "lconv1d.linear_end"},
    {"ln2", "norm_out"},
};

std::string official_name(const TensorSpec& tensor) {
  constexpr std::string_view kLayer = "a.blk.";
  const std::string_view gguf = tensor.name;
  if (!gguf.starts_with(kLayer)) return fmt::format("model.{}", kEdges.at(gguf));
  const size_t dot = gguf.find('.', kLayer.size());
  const std::string_view rest = gguf.substr(dot + 1);
  const std::string prefix =
      fmt::format("model.audio_tower.layers.{}.", gguf.substr(kLayer.size(), dot - kLayer.size()));
  if (rest == "per_dim_scale.weight") return prefix + "self_attn.per_dim_scale";
  const size_t ending = rest.find('.');
  const std::string_view part = rest.substr(0, ending);
  const bool clipped = tensor.is_matrix && part != "attn_k_rel";
  return fmt::format("{}{}{}{}", prefix, kParts.at(part), clipped ? ".linear" : "",
                     rest.substr(ending));
}

std::vector<uint64_t> official_shape(const TensorSpec& tensor) {
  if (tensor.ne == std::vector<uint64_t>{1}) return {};
  std::vector<uint64_t> shape(tensor.ne.rbegin(), tensor.ne.rend());
  if (tensor.name.ends_with("conv_dw.weight")) shape.insert(shape.begin() + 1, 1);
  return shape;
}

json config_of(const synthetic::ProjectorShape& shape) {
  const ConformerShape& conformer = *shape.conformer;
  const json audio = {
      {"model_type", "gemma4_audio"},
      {"hidden_size", conformer.hidden},
      {"num_hidden_layers", conformer.n_layers},
      {"num_attention_heads", conformer.n_heads},
      {"hidden_act", "silu"},
      {"subsampling_conv_channels", {ConformerShape::kFirstChannels, conformer.n_channels}},
      {"conv_kernel_size", 5},
      {"residual_weight", 0.5},
      {"attention_chunk_size", 12},
      {"attention_context_left", 13},
      {"attention_context_right", 0},
      {"attention_logit_cap", 50.0},
      {"attention_invalid_logits_value", -1e9},
      {"gradient_clipping", 1e10},
      {"use_clipped_linears", true},
      {"rms_norm_eps", 1e-6},
      {"output_proj_dims", conformer.output}};
  return {{"model_type", "gemma4"},
          {"text_config", {{"hidden_size", shape.target_hidden}}},
          {"vision_config", nullptr},
          {"audio_config", audio}};
}

}  // namespace

Status write_conformer_checkpoint(const synthetic::ProjectorShape& shape, uint64_t seed,
                                  const std::string& folder) {
  CheckpointFolder checkpoint;
  for (const TensorSpec& tensor : list_projector_tensors(shape)) {
    std::vector<float> values = make_projector_values(seed, tensor);
    if (tensor.name.ends_with("per_dim_scale.weight")) {
      for (float& value : values) value = static_cast<float>(std::log(std::expm1(double{value})));
    }
    checkpoint.add(official_name(tensor), official_shape(tensor), values);
  }
  return checkpoint.write(config_of(shape), folder);
}

}  // namespace kimberlite::testing
