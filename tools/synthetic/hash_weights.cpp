// The scales per kind of tensor, and the hash of a name.
#include "synthetic/hash_weights.hpp"

#include <array>
#include <cmath>
#include <string>

#include "base/result.hpp"

namespace kimberlite::synthetic {
namespace {

/// Values that do not depend on the length of a row.
struct FixedScale {
  std::string_view ending;
  Affine map;
};
constexpr std::array kFixed{
    FixedScale{"attn_norm.weight", {1.0f, 0.375f}},
    FixedScale{"ffn_norm.weight", {1.0f, 0.375f}},
    FixedScale{"output_norm.weight", {1.0f, 0.375f}},
    FixedScale{"post_attention_norm.weight", {0.25f, 0.125f}},
    FixedScale{"post_ffw_norm.weight", {0.25f, 0.125f}},
    FixedScale{"per_layer_token_embd.weight", {0.0f, 0.125f}},
    FixedScale{"per_layer_proj_norm.weight", {1.0f, 0.375f}},
    FixedScale{"post_norm.weight", {0.25f, 0.125f}},
    FixedScale{"ffn_gate_inp.weight", {0.0f, 3.5f}},
    FixedScale{"ffn_gate_inp.scale", {1.0f, 0.375f}},
    FixedScale{"ffn_down_exps.scale", {1.0f, 0.375f}},
    FixedScale{"pre_ffw_norm_2.weight", {1.0f, 0.375f}},
    FixedScale{"post_ffw_norm_1.weight", {0.25f, 0.125f}},
    FixedScale{"post_ffw_norm_2.weight", {0.25f, 0.125f}},
    FixedScale{"v.patch_embd.bias", {0.0f, 0.5f}},
    FixedScale{"v.patch_norm.1.weight", {1.0f, 0.375f}},
    FixedScale{"v.patch_norm.1.bias", {0.0f, 0.5f}},
    FixedScale{"v.patch_norm.2.weight", {1.0f, 0.375f}},
    FixedScale{"v.patch_norm.2.bias", {0.0f, 0.5f}},
    FixedScale{"v.patch_norm.3.weight", {1.0f, 0.375f}},
    FixedScale{"v.patch_norm.3.bias", {0.0f, 0.5f}},
    FixedScale{"v.position_embd.weight", {0.0f, 1.0f}},
    FixedScale{"v.blk.ln1.weight", {1.0f, 0.375f}},
    FixedScale{"v.blk.ln2.weight", {1.0f, 0.375f}},
    FixedScale{"v.blk.attn_post_norm.weight", {0.5f, 0.25f}},
    FixedScale{"v.blk.ffn_post_norm.weight", {0.5f, 0.25f}},
    FixedScale{"v.blk.attn_q_norm.weight", {0.5f, 0.25f}},
    FixedScale{"v.blk.attn_k_norm.weight", {0.5f, 0.25f}},
    FixedScale{"v.std_bias", {0.0f, 4.0f}},
    FixedScale{"v.std_scale", {1.0f, 0.375f}},
    FixedScale{"a.conv1d.0.norm.weight", {1.0f, 0.375f}},
    FixedScale{"a.conv1d.1.norm.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.attn_pre_norm.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.attn_post_norm.weight", {0.75f, 0.25f}},
    FixedScale{"a.blk.ffn_norm.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.ffn_norm_1.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.ffn_post_norm.weight", {0.75f, 0.25f}},
    FixedScale{"a.blk.ffn_post_norm_1.weight", {0.75f, 0.25f}},
    FixedScale{"a.blk.conv_norm.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.norm_conv.weight", {0.75f, 0.375f}},
    FixedScale{"a.blk.ln2.weight", {1.0f, 0.375f}},
    FixedScale{"a.blk.per_dim_scale.weight", {4.0f, 2.0f}},
    FixedScale{"a.pre_encode.out.bias", {0.0f, 0.5f}},
};

/// Bounds of a linear layer of an encoder.
constexpr std::array kBounds{
    FixedScale{".input_min", {-1.25f, 0.25f}},
    FixedScale{".input_max", {1.25f, 0.25f}},
    FixedScale{".output_min", {-1.25f, 0.25f}},
    FixedScale{".output_max", {1.25f, 0.25f}},
};

struct MatrixGain {
  std::string_view ending;
  double gain;
};
constexpr std::array kMatrices{
    MatrixGain{"token_embd.weight", 4.0},
    MatrixGain{"attn_q.weight", 1.0},
    MatrixGain{"attn_k.weight", 0.03125},
    MatrixGain{"attn_v.weight", 0.03125},
    MatrixGain{"attn_output.weight", 0.03125},
    MatrixGain{"ffn_gate.weight", 0.5},
    MatrixGain{"ffn_up.weight", 1.0},
    MatrixGain{"ffn_down.weight", 0.03125},
    MatrixGain{"inp_gate.weight", 1.0},
    MatrixGain{"proj.weight", 0.03125},
    MatrixGain{"per_layer_model_proj.weight", 0.03125},
    MatrixGain{"ffn_gate_up_exps.weight", 0.75},
    MatrixGain{"ffn_down_exps.weight", 0.03125},
    MatrixGain{"nextn.pre_projection.weight", 1.0},
    MatrixGain{"nextn.post_projection.weight", 1.0},
    MatrixGain{"masked_embd_centroids.weight", 4.0},
    MatrixGain{"v.patch_embd.weight", 1.0},
    MatrixGain{"v.blk.attn_q.weight", 1.0},
    MatrixGain{"v.blk.attn_k.weight", 1.0},
    MatrixGain{"v.blk.attn_v.weight", 1.0},
    MatrixGain{"v.blk.attn_out.weight", 2.0},
    MatrixGain{"v.blk.ffn_gate.weight", 1.0},
    MatrixGain{"v.blk.ffn_up.weight", 1.0},
    MatrixGain{"v.blk.ffn_down.weight", 2.0},
    MatrixGain{"mm.input_projection.weight", 4.0},
    MatrixGain{"mm.a.input_projection.weight", 4.0},
    MatrixGain{"a.conv1d.0.weight", 1.0},
    MatrixGain{"a.conv1d.1.weight", 1.0},
    MatrixGain{"a.input_projection.weight", 1.0},
    MatrixGain{"a.pre_encode.out.weight", 1.0},
    MatrixGain{"a.blk.attn_q.weight", 1.0},
    MatrixGain{"a.blk.attn_k.weight", 1.0},
    MatrixGain{"a.blk.attn_v.weight", 1.0},
    MatrixGain{"a.blk.attn_out.weight", 1.5},
    MatrixGain{"a.blk.attn_k_rel.weight", 1.0},
    MatrixGain{"a.blk.ffn_up.weight", 1.0},
    MatrixGain{"a.blk.ffn_up_1.weight", 1.0},
    MatrixGain{"a.blk.ffn_down.weight", 2.0},
    MatrixGain{"a.blk.ffn_down_1.weight", 2.0},
    MatrixGain{"a.blk.conv_pw1.weight", 1.0},
    MatrixGain{"a.blk.conv_pw2.weight", 1.5},
    MatrixGain{"a.blk.conv_dw.weight", 1.0},
};

uint64_t fnv1a64(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return value;
}

/// "blk.3.attn_q.weight" -> "attn_q.weight", "v.blk.3.ln1.weight" -> "v.blk.ln1.weight"; other
/// names as they are.
std::string ending_of(std::string_view name) {
  for (const std::string_view prefix : {"blk.", "v.blk.", "a.blk."}) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = name.substr(name.find('.', prefix.size()) + 1);
    return std::string(prefix == "blk." ? "" : prefix) + std::string(rest);
  }
  return std::string(name);
}

}  // namespace

HashStream::HashStream(uint64_t seed, std::string_view name)
    : key_(mix(fnv1a64(name) ^ mix(seed + kGoldenRatio))) {}

Affine affine(std::string_view name, uint64_t n_in, bool is_full) {
  for (const FixedScale& bound : kBounds) {
    if (name.ends_with(bound.ending)) return bound.map;
  }
  const std::string ending = ending_of(name);
  if (ending == "attn_q_norm.weight" || ending == "attn_k_norm.weight") {
    return is_full ? Affine{0.25f, 0.125f} : Affine{0.3125f, 0.15625f};
  }
  if (ending == "layer_output_scale.weight") {
    if (name.starts_with("blk.0.")) return {0.0625f, 0.015625f};
    return is_full ? Affine{0.5f, 0.125f} : Affine{0.6875f, 0.1875f};
  }
  for (const FixedScale& fixed : kFixed) {
    if (fixed.ending == ending) return fixed.map;
  }
  for (const MatrixGain& matrix : kMatrices) {
    if (matrix.ending == ending) {
      const double spread = matrix.gain * std::sqrt(3.0 / static_cast<double>(n_in));
      return {0.0f, static_cast<float>(spread)};
    }
  }
  KL_CHECK(false, "a tensor that the hash scheme does not know");
  return {};
}

void fill_values(const HashStream& stream, Affine map, uint64_t first, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    const float scaled = map.spread * stream.unit(first + i);
    values[i] = map.offset + scaled;
  }
}

}  // namespace kimberlite::synthetic
