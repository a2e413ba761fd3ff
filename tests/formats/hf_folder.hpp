// A tiny Hugging Face folder with the real structure: one sliding layer, one full layer whose keys
// are its values, media tensors, a tokenizer. Tests change the config and the shapes before it is
// written.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/numeric.hpp"
#include "formats/convert.hpp"
#include "formats/gguf.hpp"
#include "formats/quant.hpp"
#include "tests/formats/bytes.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::formats {

using nlohmann::json;

inline constexpr uint64_t kHidden = 64, kFfn = 96, kVocab = 24;

struct Folder {
  json config = {
      {"model_type", "gemma4_unified"},
      {"text_config",
       {{"model_type", "gemma4_unified_text"},
        {"hidden_size", kHidden},
        {"intermediate_size", kFfn},
        {"num_hidden_layers", 2},
        {"layer_types", {"sliding_attention", "full_attention"}},
        {"num_attention_heads", 4},
        {"num_key_value_heads", 2},
        {"num_global_key_value_heads", 1},
        {"attention_k_eq_v", true},
        {"head_dim", 16},
        {"global_head_dim", 32},
        {"sliding_window", 8},
        {"max_position_embeddings", 512},
        {"vocab_size", kVocab},
        {"hidden_size_per_layer_input", 0},
        {"num_experts", nullptr},
        {"enable_moe_block", false},
        {"rms_norm_eps", 1e-6},
        {"final_logit_softcapping", 30.0},
        {"bos_token_id", 2},
        {"eos_token_id", {1, 4}},
        {"rope_parameters",
         {{"full_attention",
           {{"rope_type", "proportional"}, {"rope_theta", 1e6}, {"partial_rotary_factor", 0.25}}},
          {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}}}}}};
  std::map<std::string, std::vector<uint64_t>> shapes;
  std::map<std::string, std::vector<int64_t>> integers;  // contents of tensors that are I64
  std::string spoiled;                                   // a tensor whose last element is NaN
  json tokenizer;

  explicit Folder(const std::string& prefix = "model.language_model.") {
    shapes[prefix + "embed_tokens.weight"] = {kVocab, kHidden};
    shapes[prefix + "norm.weight"] = {kHidden};
    for (uint64_t i = 0; i < 2; ++i) {
      const uint64_t dim = i == 0 ? 16 : 32;
      const uint64_t n_kv = (i == 0 ? 2 : 1) * dim;
      const std::string layer = prefix + "layers." + std::to_string(i) + ".";
      for (const char* norm : {"input_layernorm", "post_attention_layernorm",
                               "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
        shapes[layer + norm + ".weight"] = {kHidden};
      }
      shapes[layer + "layer_scalar"] = {1};
      shapes[layer + "self_attn.q_proj.weight"] = {4 * dim, kHidden};
      shapes[layer + "self_attn.k_proj.weight"] = {n_kv, kHidden};
      if (i == 0) shapes[layer + "self_attn.v_proj.weight"] = {n_kv, kHidden};
      shapes[layer + "self_attn.o_proj.weight"] = {kHidden, 4 * dim};
      shapes[layer + "self_attn.q_norm.weight"] = {dim};
      shapes[layer + "self_attn.k_norm.weight"] = {dim};
      shapes[layer + "mlp.gate_proj.weight"] = {kFfn, kHidden};
      shapes[layer + "mlp.up_proj.weight"] = {kFfn, kHidden};
      shapes[layer + "mlp.down_proj.weight"] = {kHidden, kFfn};
    }
    shapes["model.embed_vision.embedding_projection.weight"] = {kHidden, 8};
    shapes["model.embed_audio.embedding_projection.weight"] = {kHidden, 8};
    json vocab;
    const char* pieces[] = {"<pad>",      "<eos>", "<bos>", "<unk>", "<|turn>",
                            "<|channel>", "a",     "b",     "ab",    "<0x0A>"};
    for (size_t i = 0; i < std::size(pieces); ++i) vocab[pieces[i]] = i;
    tokenizer = {
        {"model",
         {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", json::array({"ab", "a"})}}}},
        {"added_tokens",
         {{{"id", 0}, {"content", "<pad>"}, {"special", true}},
          {{"id", 2}, {"content", "<bos>"}, {"special", true}},
          {{"id", 3}, {"content", "<unk>"}, {"special", true}},
          {{"id", 4}, {"content", "<|turn>"}, {"special", true}},
          {{"id", 5}, {"content", "<|channel>"}, {"special", true}},
          {{"id", 20}, {"content", "<extra>"}, {"special", false}}}}};
  }

  // Values of any tensor: a function of its place in the file's order and of the index.
  static float value(size_t tensor, uint64_t i) {
    return std::sin(static_cast<float>(i * 7 + tensor)) * 0.5f;
  }

  void write(const TempFolder& folder) const {
    folder.write("config.json", config.dump());
    if (!tokenizer.is_null()) folder.write("tokenizer.json", tokenizer.dump());
    json header;
    Bytes data;
    size_t tensor = 0;
    for (const auto& [name, shape] : shapes) {
      const size_t begin = data.str().size();
      uint64_t n = 1;
      for (const uint64_t extent : shape) n *= extent;
      const auto ints = integers.find(name);
      const bool is_int = ints != integers.end();
      for (uint64_t i = 0; i < n; ++i) {
        if (is_int) {
          data.number(ints->second.at(i));
        } else {
          const bool is_nan = name == spoiled && i + 1 == n;
          data.u16(float_to_bfloat(is_nan ? std::nanf("") : value(tensor, i)));
        }
      }
      header[name] = {{"dtype", is_int ? "I64" : "BF16"},
                      {"shape", shape},
                      {"data_offsets", {begin, data.str().size()}}};
      ++tensor;
    }
    folder.write("model.safetensors", Bytes().text(header.dump()).raw(data.str()).str());
  }

  [[nodiscard]] size_t order(const std::string& name) const {
    return static_cast<size_t>(std::distance(shapes.begin(), shapes.find(name)));
  }
};

struct Converted {
  TempFolder folder;
  Result<ConvertReport> report = Error{ErrorCode::io, "not run"};
  std::string path;

  explicit Converted(const Folder& source, ConvertOptions options = {}) {
    source.write(folder);
    path = folder.file("out.gguf");
    report = convert(folder.path(), path, options);
  }
  [[nodiscard]] std::string error() const { return report.ok() ? "" : report.error().message; }
};

inline std::vector<float> values_of(const TensorInfo& tensor) {
  std::vector<float> out(tensor.n_elements());
  dequantize_row(tensor.type, tensor.data.data(), out.data(), out.size());
  return out;
}

}  // namespace kimberlite::formats
