// The names and keys here are the official ones, written down a second time: nothing is shared
// with the converter that they test.
#include "support/tiny_checkpoint.hpp"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/numeric.hpp"
#include "synthetic/model_file.hpp"
#include "synthetic/tokenizer.hpp"

namespace kimberlite::testing {
namespace {

using nlohmann::json;
using synthetic::ModelShape;
using synthetic::TensorSpec;

/// GGUF names and official ones, of the model and of a layer.
const std::map<std::string_view, std::string_view> kOfficial{
    {"token_embd.weight", "embed_tokens.weight"},
    {"output_norm.weight", "norm.weight"},
    {"per_layer_token_embd.weight", "embed_tokens_per_layer.weight"},
    {"per_layer_model_proj.weight", "per_layer_model_projection.weight"},
    {"per_layer_proj_norm.weight", "per_layer_projection_norm.weight"},
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"post_attention_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
    {"layer_output_scale.weight", "layer_scalar"},
    {"inp_gate.weight", "per_layer_input_gate.weight"},
    {"proj.weight", "per_layer_projection.weight"},
    {"post_norm.weight", "post_per_layer_input_norm.weight"},
    {"ffn_gate_inp.weight", "router.proj.weight"},
    {"ffn_gate_inp.scale", "router.scale"},
    {"ffn_gate_up_exps.weight", "experts.gate_up_proj"},
    {"ffn_down_exps.weight", "experts.down_proj"},
    {"ffn_down_exps.scale", "router.per_expert_scale"},
    {"pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"},
    {"post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"},
    {"post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"},
};

std::string official_name(std::string_view gguf) {
  constexpr std::string_view kPrefix = "model.language_model.";
  if (!gguf.starts_with("blk.")) return fmt::format("{}{}", kPrefix, kOfficial.at(gguf));
  const size_t dot = gguf.find('.', 4);
  return fmt::format("{}layers.{}.{}", kPrefix, gguf.substr(4, dot - 4),
                     kOfficial.at(gguf.substr(dot + 1)));
}

bool is_bf16(const TensorSpec& tensor) { return tensor.name == "per_layer_model_proj.weight"; }

json or_null(uint32_t value) { return value == 0 ? json() : json(value); }

/// The tiny12 models are of the unified kind, which has keys of its own.
json text_config(const ModelShape& shape, bool unified) {
  json layers = json::array();
  for (uint32_t i = 0; i < shape.n_layers; ++i) {
    layers.push_back(shape.is_full(i) ? "full_attention" : "sliding_attention");
  }
  json text = {
      {"model_type", unified ? "gemma4_unified_text" : "gemma4_text"},
      {"vocab_size", shape.vocab},
      {"hidden_size", shape.hidden},
      {"intermediate_size", shape.ffn},
      {"num_hidden_layers", shape.n_layers},
      {"layer_types", layers},
      {"num_attention_heads", shape.n_heads},
      {"num_key_value_heads", shape.n_kv_sliding},
      {"num_global_key_value_heads", shape.k_is_v ? json(shape.n_kv_full) : json()},
      {"attention_k_eq_v", shape.k_is_v},
      {"head_dim", shape.head_dim_sliding},
      {"global_head_dim", shape.head_dim_full},
      {"max_position_embeddings", shape.context},
      {"sliding_window", shape.window},
      {"rms_norm_eps", shape.eps},
      {"final_logit_softcapping", shape.softcap},
      {"hidden_activation", "gelu_pytorch_tanh"},
      {"attention_bias", false},
      {"bos_token_id", 2},
      {"eos_token_id", 1},
      {"pad_token_id", 0},
      {"tie_word_embeddings", true},
      {"rope_parameters",
       {{"sliding_attention", {{"rope_type", "default"}, {"rope_theta", shape.rope_theta_sliding}}},
        {"full_attention",
         {{"rope_type", "proportional"},
          {"rope_theta", shape.rope_theta_full},
          {"partial_rotary_factor", shape.partial_rotary}}}}}};
  if (unified) return text;
  text["hidden_size_per_layer_input"] = shape.per_layer;
  text["vocab_size_per_layer_input"] = shape.vocab;
  text["num_kv_shared_layers"] = shape.n_shared_kv;
  text["use_double_wide_mlp"] = shape.double_wide;
  text["enable_moe_block"] = shape.n_experts > 0;
  text["num_experts"] = or_null(shape.n_experts);
  text["top_k_experts"] = or_null(shape.n_experts_used);
  text["moe_intermediate_size"] = or_null(shape.expert_ffn);
  return text;
}

json model_config(const ModelShape& shape) {
  const bool unified = shape.name.starts_with("tiny12");
  return {{"model_type", unified ? "gemma4_unified" : "gemma4"},
          {"eos_token_id", {1, 106}},
          {"tie_word_embeddings", true},
          {"text_config", text_config(shape, unified)},
          {"vision_config", nullptr},
          {"audio_config", nullptr}};
}

/// Control and user-defined tokens are among the added ones, as in the released files.
json tokenizer(uint32_t vocab) {
  const synthetic::Tokenizer made = synthetic::make_tokenizer(vocab);
  json pieces = json::object();
  json added = json::array();
  for (size_t id = 0; id < made.pieces.size(); ++id) {
    pieces[made.pieces[id]] = id;
    constexpr int32_t kControl = 3, kUserDefined = 4;
    if (made.types[id] == kControl || made.types[id] == kUserDefined) {
      added.push_back({{"id", id}, {"content", made.pieces[id]}, {"special", true}});
    }
  }
  json merges = json::array();
  for (const std::string& merge : made.merges) {
    const size_t space = merge.find(' ');
    merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  return {{"model", {{"type", "BPE"}, {"vocab", pieces}, {"merges", merges}}},
          {"added_tokens", added}};
}

void append(std::string& bytes, const auto& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// In the file's order a tensor's extents begin with the slowest.
std::string safetensors(const ModelShape& shape, uint64_t seed) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const TensorSpec& tensor : list_tensors(shape)) {
    if (tensor.name == "rope_freqs.weight") continue;  // follows from the config
    const size_t begin = data.size();
    for (const float value : checkpoint_values(shape, seed, tensor)) {
      is_bf16(tensor) ? append(data, float_to_bfloat(value)) : append(data, value);
    }
    header[official_name(tensor.name)] = {
        {"dtype", is_bf16(tensor) ? "BF16" : "F32"},
        {"shape", std::vector<uint64_t>(tensor.ne.rbegin(), tensor.ne.rend())},
        {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string bytes;
  append(bytes, uint64_t{text.size()});
  return bytes + text + data;
}

Status write(const std::string& folder, std::string_view name, const std::string& contents) {
  const std::string path = fmt::format("{}/{}", folder, name);
  std::ofstream file(path, std::ios::binary);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  if (file.fail()) return Error{ErrorCode::io, path + ": cannot be written"};
  return {};
}

}  // namespace

Status write_tiny_checkpoint(const ModelShape& shape, uint64_t seed, const std::string& folder) {
  KL_TRY(write(folder, "config.json", model_config(shape).dump()));
  const json generation = {{"top_k", 64}, {"top_p", 0.95}, {"temperature", 1.0}};
  KL_TRY(write(folder, "generation_config.json", generation.dump()));
  KL_TRY(write(folder, "tokenizer.json", tokenizer(shape.vocab).dump()));
  return write(folder, "model.safetensors", safetensors(shape, seed));
}

std::vector<float> checkpoint_values(const ModelShape& shape, uint64_t seed,
                                     const TensorSpec& tensor) {
  std::vector<float> values = make_values(shape, seed, tensor);
  if (!is_bf16(tensor)) return values;
  for (float& value : values) value = bfloat_to_float(float_to_bfloat(value));
  return values;
}

}  // namespace kimberlite::testing
