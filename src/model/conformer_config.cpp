#include "model/conformer_config.hpp"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "model/projector_keys.hpp"

namespace kimberlite::model {
namespace {

using formats::GgufFile;

// Beyond these a file is broken or hostile; those of Gemma 4 stay far below.
constexpr uint32_t kMaxWidth = 1u << 15;
constexpr uint32_t kMaxLayers = 256;
constexpr uint32_t kMaxChannels = 256;

/// An extent of a tensor, which no key says.
Result<uint32_t> read_extent(const GgufFile& file, const std::string& name, uint32_t axis,
                             uint32_t step, uint32_t high) {
  const formats::TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) {
    return Error{ErrorCode::bad_file, fmt::format("{}: no tensor {}", file.path(), name)};
  }
  const uint64_t value = tensor->ne[axis];
  if (value == 0 || value % step != 0 || value > high) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} has {} rows, expected a multiple of {} up to {}", file.path(),
                             name, value, step, high)};
  }
  return static_cast<uint32_t>(value);
}

/// What other encoders have and this one does not: to ignore it would give wrong results.
Status refuse_others(const GgufFile& file, uint32_t n_layers) {
  std::vector<std::string> names{"a.conv1d.0.bias",           "a.conv1d.1.bias",
                                 "a.conv1d.0.norm.bias",      "a.conv1d.1.norm.bias",
                                 "a.input_projection.bias",   "mm.a.soft_emb_norm.weight",
                                 "mm.a.input_projection.bias"};
  for (uint32_t i = 0; i < n_layers; ++i) {
    for (const char* part : {"per_dim_k_scale.weight", "conv_dw.bias", "attn_out.bias"}) {
      names.push_back(fmt::format("a.blk.{}.{}", i, part));
    }
  }
  for (const std::string& name : names) {
    if (file.find_tensor(name) == nullptr) continue;
    return Error{
        ErrorCode::unsupported,
        fmt::format("{}: {}: not a tensor that the gemma4a of Gemma 4 has", file.path(), name)};
  }
  return {};
}

}  // namespace

Result<ConformerConfig> read_conformer_config(const GgufFile& file) {
  ConformerConfig config;
  const std::string bins_key = "clip.audio.num_mel_bins";
  KL_ASSIGN(const uint32_t n_bins, file.u32(bins_key));
  if (n_bins != ConformerConfig::kMelBins) {
    return file.key_error(bins_key,
                          fmt::format("is {}, expected {}", n_bins, ConformerConfig::kMelBins));
  }
  KL_ASSIGN(config.width, read_size(file, "clip.audio.embedding_length", 32, kMaxWidth));
  KL_ASSIGN(config.ffn_width, read_size(file, "clip.audio.feed_forward_length", 32, kMaxWidth));
  KL_ASSIGN(config.n_layers, read_size(file, "clip.audio.block_count", 1, kMaxLayers));
  const std::string heads_key = "clip.audio.attention.head_count";
  KL_ASSIGN(config.n_heads, read_size(file, heads_key, 1, config.width));
  if (config.width % config.n_heads != 0 || config.head_dim() % 4 != 0) {
    return file.key_error(heads_key,
                          fmt::format("is {}: rows of {} values make no heads of a multiple of 4",
                                      config.n_heads, config.width));
  }
  for (uint32_t i = 0; i < 2; ++i) {
    KL_ASSIGN(config.channels[i],
              read_extent(file, fmt::format("a.conv1d.{}.norm.weight", i), 0, 4, kMaxChannels));
  }
  KL_ASSIGN(config.output_width, read_extent(file, "a.pre_encode.out.weight", 1, 32, kMaxWidth));
  KL_TRY(refuse_others(file, config.n_layers));
  return config;
}

}  // namespace kimberlite::model
