// The part of WeightTable that is about the encoder of sounds.
#include "model/conformer_weights.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <functional>
#include <numbers>

#include "formats/quant.hpp"
#include "model/weight_table.hpp"
#include "shaders/light_conv.h"
#include "shaders/local_attention.h"

namespace kimberlite::model {
namespace {

constexpr uint32_t kShared = WeightEntry::kShared;
static_assert(ConformerWeights::kPositions >= shaders::kLocalWindow);

/// sin(d t_i) and cos(d t_i) of each distance d, with times t_i from 1 to 1/10,000.
std::vector<uint32_t> make_positions(uint32_t width) {
  const uint32_t n_times = width / 2;
  const double step = std::log(10000.0) / std::max(n_times - 1, 1u);
  std::vector<uint32_t> words;
  for (uint32_t distance = 0; distance < ConformerWeights::kPositions; ++distance) {
    for (uint32_t i = 0; i < 2 * n_times; ++i) {
      // float32 up to the angle, as the official table is.
      const auto time = static_cast<float>(std::exp(-step * (i % n_times)));
      const float angle = static_cast<float>(distance) * time;
      const double value = i < n_times ? std::sin(double{angle}) : std::cos(double{angle});
      words.push_back(std::bit_cast<uint32_t>(static_cast<float>(value)));
    }
  }
  return words;
}

}  // namespace

Status WeightTable::add_reordered(const std::string& name, std::initializer_list<uint64_t> shape,
                                  graph::Shape stored,
                                  const std::function<uint64_t(uint64_t)>& source_of,
                                  graph::Tensor& out) {
  KL_ASSIGN(const formats::TensorInfo* source, find_floats(name, shape));
  std::vector<float> values(source->n_elements());
  formats::dequantize_row(source->type, source->data.data(), values.data(), values.size());
  std::vector<uint32_t> words(values.size());
  for (uint64_t i = 0; i < words.size(); ++i) {
    words[i] = std::bit_cast<uint32_t>(values[source_of(i)]);
  }
  add_words(name, std::move(words), stored, out);
  entries_.back().sources = {source};
  return {};
}

Status WeightTable::add_convolution(uint32_t index, const ConformerConfig& config,
                                    ConvolutionWeights& weights) {
  const std::string stem = fmt::format("a.conv1d.{}.", index);
  const uint64_t n_in = index == 0 ? 1 : config.channels[0];
  const uint64_t n_out = config.channels[index];
  const auto source_of = [=](uint64_t i) {
    const uint64_t place = i / n_out / n_in;
    return (i % n_out * n_in + i / n_out % n_in) * 9 + place;
  };
  KL_TRY(add_reordered(stem + "weight", {n_out, n_in, 3, 3}, graph::Shape{9, n_in, n_out},
                       source_of, weights.taps));
  return add_vector(stem + "norm.weight", kShared, n_out, weights.norm);
}

Status WeightTable::add_half_step(const std::string& prefix, const std::string& suffix,
                                  const ConformerConfig& config, HalfStepWeights& weights) {
  const uint64_t width = config.width;
  const uint64_t ffn = config.ffn_width;
  const auto name = [&](const char* part) { return prefix + part + suffix; };
  KL_TRY(add_vector(name("ffn_norm") + ".weight", kShared, width, weights.norm));
  KL_TRY(add_clipped_linear(name("ffn_up"), ffn, width, weights.up));
  KL_TRY(add_clipped_linear(name("ffn_down"), width, ffn, weights.down));
  KL_TRY(add_vector(name("ffn_post_norm") + ".weight", kShared, width, weights.post_norm));
  entries_.back().factor = 0.5f;
  return {};
}

Status WeightTable::add_conformer_layer(uint32_t index, const ConformerConfig& config,
                                        ConformerLayerWeights& weights) {
  const std::string prefix = fmt::format("a.blk.{}.", index);
  const uint64_t width = config.width;
  const auto norm = [&](const char* part, graph::Tensor& out) {
    return add_vector(prefix + part + ".weight", kShared, width, out);
  };
  const auto product = [&](const char* part, uint64_t n_rows, ClippedLinearWeights& out) {
    return add_clipped_linear(prefix + part, n_rows, width, out);
  };
  KL_TRY(add_half_step(prefix, "", config, weights.first));
  KL_TRY(norm("attn_pre_norm", weights.attention_norm));
  KL_TRY(product("attn_q", width, weights.q));
  KL_TRY(product("attn_k", width, weights.k));
  KL_TRY(product("attn_v", width, weights.v));
  KL_TRY(add_matrix(prefix + "attn_k_rel.weight", kShared, width, width, weights.relative));
  KL_TRY(add_vector(prefix + "per_dim_scale.weight", kShared, config.head_dim(), weights.scale));
  entries_.back().factor = static_cast<float>(
      1 / (std::sqrt(static_cast<double>(config.head_dim())) * std::numbers::ln2));
  KL_TRY(product("attn_out", width, weights.attention_out));
  KL_TRY(norm("attn_post_norm", weights.attention_post_norm));
  KL_TRY(norm("conv_norm", weights.conv_norm));
  KL_TRY(product("conv_pw1", 2 * width, weights.conv_in));
  constexpr uint64_t kTaps = shaders::kLightTaps;
  KL_TRY(add_reordered(
      prefix + "conv_dw.weight", {width, kTaps}, graph::Shape{kTaps, width},
      [=](uint64_t i) { return i % width * kTaps + i / width; }, weights.taps));
  KL_TRY(norm("norm_conv", weights.conv_inner_norm));
  KL_TRY(product("conv_pw2", width, weights.conv_out));
  KL_TRY(add_half_step(prefix, "_1", config, weights.second));
  return norm("ln2", weights.out_norm);
}

Status WeightTable::add_conformer(const ConformerConfig& config, ConformerWeights& weights) {
  for (uint32_t i = 0; i < weights.convolutions.size(); ++i) {
    KL_TRY(add_convolution(i, config, weights.convolutions[i]));
  }
  KL_TRY(add_matrix("a.input_projection.weight", kShared, config.width, config.n_input(),
                    weights.input));
  add_words("positions", make_positions(config.width),
            graph::Shape{ConformerWeights::kPositions, config.width}, weights.positions);
  weights.layers.resize(config.n_layers);
  for (uint32_t i = 0; i < config.n_layers; ++i) {
    KL_TRY(add_conformer_layer(i, config, weights.layers[i]));
  }
  KL_TRY(add_matrix("a.pre_encode.out.weight", kShared, config.output_width, config.width,
                    weights.output));
  return add_vector("a.pre_encode.out.bias", kShared, config.output_width, weights.output_bias);
}

}  // namespace kimberlite::model
