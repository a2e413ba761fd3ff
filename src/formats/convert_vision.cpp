// Shapes here are in GGUF order, input first.
#include "formats/convert_vision.hpp"

#include <fmt/format.h>

#include <span>
#include <string>

#include "formats/convert_config.hpp"
#include "formats/convert_media.hpp"
#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxPatch = 256;
constexpr uint64_t kMaxMerge = 16;
constexpr uint64_t kMaxLayers = 256;
constexpr uint64_t kMaxPositions = 1 << 20;
constexpr double kTheta = 100;  // what readers of gemma4v take: no key says it

/// Names of the layers' parts: in the GGUF file, in the checkpoint.
struct Part {
  std::string_view gguf;
  std::string_view official;
};
constexpr Part kNorms[] = {{"ln1", "input_layernorm"},
                           {"attn_post_norm", "post_attention_layernorm"},
                           {"ln2", "pre_feedforward_layernorm"},
                           {"ffn_post_norm", "post_feedforward_layernorm"}};
constexpr Part kHeadNorms[] = {{"attn_q_norm", "self_attn.q_norm"},
                               {"attn_k_norm", "self_attn.k_norm"}};
constexpr Part kSquare[] = {{"attn_q", "self_attn.q_proj"},
                            {"attn_k", "self_attn.k_proj"},
                            {"attn_v", "self_attn.v_proj"},
                            {"attn_out", "self_attn.o_proj"}};
constexpr Part kWiden[] = {{"ffn_gate", "mlp.gate_proj"}, {"ffn_up", "mlp.up_proj"}};
constexpr Part kNarrow = {"ffn_down", "mlp.down_proj"};

/// What every tower has and no key of a GGUF file could say otherwise.
Status check_fixed(const JsonObject& vision, const HfTowerConfig& c) {
  KL_ASSIGN(const auto n_kv, vision.u64_or("num_key_value_heads", c.n_heads, 0, UINT64_MAX));
  if (n_kv != c.n_heads) {
    return vision.unsupported(
        fmt::format("num_key_value_heads is {}, num_attention_heads is {}: "
                    "expected the same",
                    n_kv, c.n_heads));
  }
  KL_ASSIGN(const auto head_dim, vision.u64_or("head_dim", c.width / c.n_heads, 0, UINT64_MAX));
  if (head_dim * c.n_heads != c.width) {
    return vision.unsupported(
        fmt::format("{} heads of {} make no hidden_size of {}", c.n_heads, head_dim, c.width));
  }
  KL_ASSIGN(const auto act, vision.str_or("hidden_activation", "gelu_pytorch_tanh"));
  if (act != "gelu_pytorch_tanh") {
    return vision.unsupported(
        fmt::format("hidden_activation is {}, expected gelu_pytorch_tanh", printable(act)));
  }
  KL_ASSIGN(const auto bias, vision.boolean_or("attention_bias", false));
  if (bias) return vision.unsupported("attention_bias is true, expected false");
  if (!vision.has("rope_parameters")) return {};
  KL_ASSIGN(const auto rope, vision.object("rope_parameters"));
  KL_ASSIGN(const auto theta, rope.number_or("rope_theta", kTheta));
  if (theta == kTheta) return {};
  return rope.unsupported(
      fmt::format("rope_theta is {}, readers of gemma4v take {}", theta, kTheta));
}

/// The tensors of one layer.
class LayerPlanner {
 public:
  LayerPlanner(const HfTowerConfig& config, uint64_t layer, std::string_view prefix,
               Planner& planner)
      : config_(config),
        planner_(planner),
        gguf_(fmt::format("v.blk.{}.", layer)),
        official_(fmt::format("{}encoder.layers.{}.", prefix, layer)) {}

  Status add() {
    const uint64_t width = config_.width;
    for (const Part& part : kNorms) KL_TRY(add_norm(part, width));
    for (const Part& part : kHeadNorms) KL_TRY(add_norm(part, width / config_.n_heads));
    for (const Part& part : kSquare) KL_TRY(add_linear(part, width, width));
    for (const Part& part : kWiden) KL_TRY(add_linear(part, width, config_.ffn));
    return add_linear(kNarrow, config_.ffn, width);
  }

 private:
  Status add_norm(const Part& part, uint64_t n) {
    return planner_.add_vector(fmt::format("{}{}.weight", gguf_, part.gguf),
                               fmt::format("{}{}.weight", official_, part.official), n);
  }

  Status add_linear(const Part& part, uint64_t n_in, uint64_t n_out) {
    const std::string official = fmt::format("{}{}.", official_, part.official);
    KL_TRY(planner_.add_matrix(fmt::format("{}{}.weight", gguf_, part.gguf),
                               official + "linear.weight", {n_in, n_out}));
    if (!config_.clips) return {};
    return add_hf_bounds(fmt::format("{}{}.", gguf_, part.gguf), official, planner_);
  }

  const HfTowerConfig& config_;  // Borrowed, like the next.
  Planner& planner_;
  std::string gguf_, official_;
};

}  // namespace

Result<HfTowerConfig> read_hf_tower(const JsonObject& vision) {
  HfTowerConfig c{};
  KL_ASSIGN(c.patch, vision.u64("patch_size", 1, kMaxPatch));
  KL_ASSIGN(c.merge, vision.u64("pooling_kernel_size", 1, kMaxMerge));
  KL_ASSIGN(c.width, vision.u64("hidden_size", 1, kMaxWidth));
  KL_ASSIGN(c.ffn, vision.u64("intermediate_size", 1, kMaxWidth));
  KL_ASSIGN(c.n_layers, vision.u64("num_hidden_layers", 1, kMaxLayers));
  KL_ASSIGN(c.n_heads, vision.u64("num_attention_heads", 1, c.width));
  KL_ASSIGN(c.n_positions, vision.u64("position_embedding_size", 1, kMaxPositions));
  KL_ASSIGN(c.clips, vision.boolean_or("use_clipped_linears", false));
  KL_ASSIGN(c.standardises, vision.boolean_or("standardize", false));
  KL_ASSIGN(c.rms_eps, read_hf_eps(vision));
  KL_TRY(check_fixed(vision, c));
  return c;
}

void write_hf_tower(const HfTowerConfig& c, uint64_t hidden, GgufWriter& writer) {
  writer.set_string("clip.vision.projector_type", "gemma4v");
  write_hf_patches({c.patch, c.merge}, writer);
  write_hf_encoder("clip.vision",
                   {.width = c.width,
                    .ffn = c.ffn,
                    .n_layers = c.n_layers,
                    .n_heads = c.n_heads,
                    .hidden = hidden,
                    .rms_eps = c.rms_eps},
                   writer);
}

Status add_hf_tower(const HfTowerConfig& c, uint64_t hidden, Planner& planner) {
  constexpr std::string_view kPrefixes[] = {"model.vision_tower.", "vision_tower."};
  constexpr std::string_view kEmbedder = "patch_embedder.input_proj.weight";
  std::string prefix = pick_hf_name(planner, kPrefixes, kEmbedder);
  prefix.resize(prefix.size() - kEmbedder.size());
  // The checkpoint has a pixel's colours side by side, the GGUF file a plane for each colour.
  const uint64_t n = c.n_values();
  const auto planar = [n](uint64_t i) {
    const uint64_t n_pixels = n / 3;
    return i / n * n + i % n_pixels * 3 + i % n / n_pixels;
  };
  const uint64_t matrix[] = {n, c.width};
  KL_TRY(planner.add_rearranged("v.patch_embd.weight", prefix + std::string(kEmbedder), matrix,
                                {c.patch, c.patch, 3, c.width}, planar, GgmlType::f16));
  KL_TRY(planner.add_fine_matrix("v.position_embd.weight",
                                 prefix + "patch_embedder.position_embedding_table", GgmlType::f16,
                                 {c.width, c.n_positions, 2}));
  for (uint64_t i = 0; i < c.n_layers; ++i) KL_TRY(LayerPlanner(c, i, prefix, planner).add());
  if (c.standardises) {
    KL_TRY(planner.add_vector("v.std_bias", prefix + "std_bias", c.width));
    KL_TRY(planner.add_vector("v.std_scale", prefix + "std_scale", c.width));
  }
  return planner.add_matrix("mm.input_projection.weight", pick_hf_vision_projection(planner),
                            {c.width, hidden});
}

}  // namespace kimberlite::formats
