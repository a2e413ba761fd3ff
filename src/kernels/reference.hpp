// What the kernels compute, on the CPU in double precision: readable before fast. Every value comes
// with a bound on the error of computing it in float32, derived from the roundings on the way and
// never from what a device happened to return.
//
// The bounds suppose that m terms added in any order are off by about sqrt(m) roundings of their
// magnitudes; the worst case, m / 2, does not happen with data that is not made for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/ggml_type.hpp"
#include "kernels/attention.hpp"
#include "kernels/kv_reference.hpp"
#include "kernels/registry.hpp"
#include "kernels/rope_table.hpp"

namespace kimberlite::kernels::reference {

struct Expected {
  std::vector<double> values;
  std::vector<double> bounds;  // of |computed - value|, one for each value

  void add(double value, double bound) {
    values.push_back(value);
    bounds.push_back(bound);
  }
};

/// y = rms(x) * weight. x: [n_rows, weight.size()].
[[nodiscard]] Expected rms_norm(std::span<const float> x, std::span<const float> weight, float eps);

/// The same of values that are off themselves.
[[nodiscard]] Expected rms_norm(const Expected& x, std::span<const float> weight, float eps);

struct LayerNormArgs {
  std::span<const float> x;      // [n_rows, width]
  std::span<const float> shift;  // [width], or nothing
  std::span<const float> a;      // [n_rows, width], or nothing, as b
  std::span<const float> b;
  std::span<const float> weight;  // [width]
  std::span<const float> bias;    // [width], or nothing: the mean stays too
  float eps = 1e-5f;
};
/// y = (v - mean(v)) / sqrt(variance(v) + eps) * weight + bias, v = x + shift + a + b.
[[nodiscard]] Expected layer_norm(const LayerNormArgs& args);

struct ResidualNormArgs {
  std::span<const float> delta;  // [n_rows, width]
  std::span<const float> post;   // [width], or nothing: delta as it is
  std::span<const float> x;      // [n_rows, width]: residual stream before
  std::span<const float> next;   // [width]
  float scale = 1.0f;
  float eps = 1e-6f;
};
struct ResidualNormResult {
  Expected x;  // residual stream after
  Expected y;
};
/// x = (x + rms(delta) * post) * scale; y = rms(x) * next.
[[nodiscard]] ResidualNormResult residual_norm(const ResidualNormArgs& args);

struct ExpertSumArgs {
  std::span<const float> mlp;        // [n_rows, width]
  std::span<const float> mlp_norm;   // [width]
  std::span<const float> outs;       // [n_rows, n_used, width]
  std::span<const float> outs_norm;  // [width]
  std::span<const float> weights;    // [n_rows, n_used]
};
/// The same with delta = rms(mlp) * mlp_norm + rms(sum_j weights_j outs_j) * outs_norm; args.delta
/// is not read.
[[nodiscard]] ResidualNormResult expert_sum(const ExpertSumArgs& sum, const ResidualNormArgs& args);

/// out = gelu_tanh(gate) * up.
[[nodiscard]] Expected geglu(std::span<const float> gate, std::span<const float> up);
/// The same of values that are off themselves.
[[nodiscard]] Expected geglu(const Expected& gate, const Expected& up);

/// One head at `position`: normed (without weights where `weight` is empty), then rotated.
/// `rotates` is false for values.
[[nodiscard]] Expected rope_head(std::span<const float> x, std::span<const float> weight,
                                 const RopeShape& rope, uint32_t position, bool rotates, float eps);
/// Adds to the bounds of one head what rounding it to the cache's type may change.
void add_kv_rounding(Expected& head, KvType type);

/// One query head over the keys that `position`, above 0 where its own is hidden, sees; with so
/// many behind it.
[[nodiscard]] Expected attention_head(const HostCache& k, const HostCache& v,
                                      std::span<const float> q, uint32_t sequence,
                                      uint32_t position, uint32_t kv_head,
                                      OwnKey own_key = OwnKey::seen, uint32_t n_ahead = 0);

/// A matrix as the file has it.
struct Matrix {
  MatrixKind kind;
  uint64_t n_rows = 0;
  uint64_t n_cols = 0;
  std::span<const std::byte> rows;  // GGUF bytes
};
/// y = W x. x: [n, n_cols]; in an int8 class it is rounded as quant_act.comp does. Where a value
/// lies near the middle between two codes a device may take the other one: choose x accordingly
/// (runtime/probe_inputs.hpp does).
[[nodiscard]] Expected linear(const Matrix& w, std::span<const float> x);

/// What rows that are rounded for an int8 class stand for (common/round_rows.glsl).
[[nodiscard]] std::vector<float> decode_rounded(std::span<const std::byte> rows,
                                                LinearClass linear_class);

/// y = scale * W[token].
[[nodiscard]] Expected embed(const Matrix& w, std::span<const uint32_t> tokens, float scale);

}  // namespace kimberlite::kernels::reference
