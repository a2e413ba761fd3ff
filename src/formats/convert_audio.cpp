// Shapes here are in GGUF order, input first. The names of the two norms of a light convolution are
// the other way round in GGUF files than what they say: conv_norm is the one in front of it.
#include "formats/convert_audio.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <span>
#include <string>

#include "formats/convert_config.hpp"
#include "formats/convert_media.hpp"
#include "formats/gguf_parse.hpp"
#include "formats/quant.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxLayers = 256;
constexpr uint64_t kMaxChannels = 256;
constexpr double kWrittenEps = 1e-5;  // what files have; every reader takes kEps
constexpr double kEps = 1e-6;

/// Names of the layers' parts: in the GGUF file, in the checkpoint.
struct Part {
  std::string_view gguf;
  std::string_view official;
};
constexpr Part kNorms[] = {{"ffn_norm", "feed_forward1.pre_layer_norm"},
                           {"ffn_post_norm", "feed_forward1.post_layer_norm"},
                           {"ffn_norm_1", "feed_forward2.pre_layer_norm"},
                           {"ffn_post_norm_1", "feed_forward2.post_layer_norm"},
                           {"attn_pre_norm", "norm_pre_attn"},
                           {"attn_post_norm", "norm_post_attn"},
                           {"conv_norm", "lconv1d.pre_layer_norm"},
                           {"norm_conv", "lconv1d.conv_norm"},
                           {"ln2", "norm_out"}};
constexpr Part kSquare[] = {{"attn_q", "self_attn.q_proj"},
                            {"attn_k", "self_attn.k_proj"},
                            {"attn_v", "self_attn.v_proj"},
                            {"attn_out", "self_attn.post"},
                            {"conv_pw2", "lconv1d.linear_end"}};
constexpr Part kWiden[] = {{"ffn_up", "feed_forward1.ffw_layer_1"},
                           {"ffn_up_1", "feed_forward2.ffw_layer_1"}};
constexpr Part kNarrow[] = {{"ffn_down", "feed_forward1.ffw_layer_2"},
                            {"ffn_down_1", "feed_forward2.ffw_layer_2"}};
constexpr Part kGate = {"conv_pw1", "lconv1d.linear_start"};

uint64_t in_place(uint64_t i) { return i; }

Status expect_number(const JsonObject& audio, std::string_view key, double expected) {
  KL_ASSIGN(const double value, audio.number_or(key, expected));
  if (value == expected) return {};
  return audio.unsupported(
      fmt::format("{} is {}, readers of gemma4a take {}", key, value, expected));
}

/// What every conformer has and no key of a GGUF file could say otherwise.
Status check_fixed(const JsonObject& audio) {
  KL_TRY(expect_number(audio, "attention_chunk_size", 12));
  KL_TRY(expect_number(audio, "attention_context_left", 13));
  KL_TRY(expect_number(audio, "attention_context_right", 0));
  KL_TRY(expect_number(audio, "attention_logit_cap", 50));
  KL_TRY(expect_number(audio, "conv_kernel_size", HfConformerConfig::kTaps));
  KL_TRY(expect_number(audio, "residual_weight", 0.5));
  KL_TRY(expect_number(audio, "rms_norm_eps", kEps));
  KL_ASSIGN(const auto act, audio.str_or("hidden_act", "silu"));
  if (act == "silu") return {};
  return audio.unsupported(fmt::format("hidden_act is {}, expected silu", printable(act)));
}

Status read_channels(const JsonObject& audio, std::array<uint64_t, 2>& channels) {
  constexpr std::string_view kKey = "subsampling_conv_channels";
  const Json* list = audio.find(kKey);
  if (list == nullptr || !list->is_array() || list->size() != channels.size()) {
    return audio.error(kKey, "expected an array of two numbers");
  }
  for (size_t i = 0; i < channels.size(); ++i) {
    const Json& value = (*list)[i];
    const uint64_t n = value.is_number_unsigned() ? value.get<uint64_t>() : 0;
    if (n == 0 || n > kMaxChannels) {
      return audio.error(kKey,
                         fmt::format("{} is no number from 1 to {}", shown(value), kMaxChannels));
    }
    channels[i] = n;
  }
  // The official model has the frequencies left over as a quarter of the first one.
  if (channels[0] == HfConformerConfig::kMelBins) return {};
  return audio.unsupported(fmt::format("{} starts with {}, expected {}", kKey, channels[0],
                                       HfConformerConfig::kMelBins));
}

/// What readers multiply queries with: softplus of what the checkpoint has.
Status add_scale(std::string name, const std::string& source_name, uint64_t n, Planner& planner) {
  const uint64_t ne[] = {n};
  KL_ASSIGN(const SafetensorsTensor* source, planner.take(source_name, ne));
  if (!source->dtype->ggml) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: dtype {}, convert reads F32, F16 and BF16", source_name,
                             source->dtype->name)};
  }
  const auto make = [source, n](const ByteSink& sink) -> Status {
    std::vector<float> values(n);
    dequantize_row(*source->dtype->ggml, source->data.data(), values.data(), n);
    for (float& value : values) {
      if (!std::isfinite(value)) {
        return Error{ErrorCode::bad_file, fmt::format("{}: {} is no number", source->name, value)};
      }
      const double x = value;
      value = static_cast<float>(std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
    }
    return sink(std::as_bytes(std::span(values)));
  };
  planner.add({std::move(name), GgmlType::f32, {n}, source, make});
  return {};
}

/// The tensors of one layer.
class LayerPlanner {
 public:
  LayerPlanner(const HfConformerConfig& config, uint64_t layer, std::string_view prefix,
               Planner& planner)
      : config_(config),
        planner_(planner),
        gguf_(fmt::format("a.blk.{}.", layer)),
        official_(fmt::format("{}layers.{}.", prefix, layer)) {}

  Status add() {
    const uint64_t width = config_.width;
    for (const Part& part : kNorms) {
      KL_TRY(planner_.add_vector(name(part, ".weight"), official(part, ".weight"), width));
    }
    for (const Part& part : kSquare) KL_TRY(add_linear(part, width, width));
    for (const Part& part : kWiden) KL_TRY(add_linear(part, width, config_.ffn()));
    for (const Part& part : kNarrow) KL_TRY(add_linear(part, config_.ffn(), width));
    KL_TRY(add_linear(kGate, width, 2 * width));
    KL_TRY(planner_.add_matrix(gguf_ + "attn_k_rel.weight",
                               official_ + "self_attn.relative_k_proj.weight", {width, width}));
    KL_TRY(add_scale(gguf_ + "per_dim_scale.weight", official_ + "self_attn.per_dim_scale",
                     width / config_.n_heads, planner_));
    constexpr uint64_t kTaps = HfConformerConfig::kTaps;
    const uint64_t taps[] = {kTaps, 1, width};
    return planner_.add_rearranged(gguf_ + "conv_dw.weight",
                                   official_ + "lconv1d.depthwise_conv1d.weight", taps,
                                   {kTaps, width}, in_place);
  }

 private:
  [[nodiscard]] std::string name(const Part& part, std::string_view ending) const {
    return fmt::format("{}{}{}", gguf_, part.gguf, ending);
  }
  [[nodiscard]] std::string official(const Part& part, std::string_view ending) const {
    return fmt::format("{}{}{}", official_, part.official, ending);
  }

  Status add_linear(const Part& part, uint64_t n_in, uint64_t n_out) {
    KL_TRY(planner_.add_matrix(name(part, ".weight"), official(part, ".linear.weight"),
                               {n_in, n_out}));
    if (!config_.clips) return {};
    return add_hf_bounds(name(part, "."), official(part, "."), planner_);
  }

  const HfConformerConfig& config_;  // Borrowed, like the next.
  Planner& planner_;
  std::string gguf_, official_;
};

}  // namespace

Result<HfConformerConfig> read_hf_conformer(const JsonObject& audio) {
  HfConformerConfig c{};
  KL_ASSIGN(c.width, audio.u64("hidden_size", 1, kMaxWidth / 4));
  KL_ASSIGN(c.n_layers, audio.u64("num_hidden_layers", 1, kMaxLayers));
  KL_ASSIGN(c.n_heads, audio.u64("num_attention_heads", 1, c.width));
  if (c.width % c.n_heads != 0) {
    return audio.error(
        "num_attention_heads",
        fmt::format("{} heads do not divide a hidden_size of {}", c.n_heads, c.width));
  }
  KL_ASSIGN(c.output, audio.u64("output_proj_dims", 1, kMaxWidth));
  KL_ASSIGN(c.clips, audio.boolean_or("use_clipped_linears", true));
  KL_TRY(read_channels(audio, c.channels));
  KL_TRY(check_fixed(audio));
  return c;
}

void write_hf_conformer(const HfConformerConfig& c, uint64_t hidden, GgufWriter& writer) {
  writer.set_string("clip.audio.projector_type", "gemma4a");
  writer.set_u32("clip.audio.num_mel_bins", HfConformerConfig::kMelBins);
  write_hf_encoder("clip.audio",
                   {.width = c.width,
                    .ffn = c.ffn(),
                    .n_layers = c.n_layers,
                    .n_heads = c.n_heads,
                    .hidden = hidden,
                    .rms_eps = kWrittenEps},
                   writer);
}

Status add_hf_conformer(const HfConformerConfig& c, uint64_t hidden, Planner& planner) {
  constexpr std::string_view kPrefixes[] = {"model.audio_tower.", "audio_tower."};
  constexpr std::string_view kProjections[] = {"model.embed_audio.embedding_projection.weight",
                                               "embed_audio.embedding_projection.weight"};
  constexpr std::string_view kOutput = "output_proj.weight";
  std::string prefix = pick_hf_name(planner, kPrefixes, kOutput);
  prefix.resize(prefix.size() - kOutput.size());
  const std::string front = prefix + "subsample_conv_projection.";
  for (uint64_t i = 0; i < c.channels.size(); ++i) {
    const std::string stem = fmt::format("a.conv1d.{}.", i);
    const std::string part = fmt::format("{}layer{}.", front, i);
    const uint64_t kernel[] = {3, 3, i == 0 ? 1 : c.channels[0], c.channels[i]};
    KL_TRY(planner.add_rearranged(stem + "weight", part + "conv.weight", kernel,
                                  {std::begin(kernel), std::end(kernel)}, in_place));
    KL_TRY(planner.add_vector(stem + "norm.weight", part + "norm.weight", c.channels[i]));
  }
  KL_TRY(planner.add_matrix("a.input_projection.weight", front + "input_proj_linear.weight",
                            {c.n_input(), c.width}));
  for (uint64_t i = 0; i < c.n_layers; ++i) KL_TRY(LayerPlanner(c, i, prefix, planner).add());
  KL_TRY(planner.add_matrix("a.pre_encode.out.weight", prefix + std::string(kOutput),
                            {c.width, c.output}));
  KL_TRY(planner.add_vector("a.pre_encode.out.bias", prefix + "output_proj.bias", c.output));
  return planner.add_matrix("mm.a.input_projection.weight", pick_hf_name(planner, kProjections),
                            {c.output, hidden});
}

}  // namespace kimberlite::formats
