#include "kernels/reference.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/numeric.hpp"
#include "base/result.hpp"
#include "formats/quant.hpp"
#include "kernels/quant_act.hpp"

namespace kimberlite::kernels::reference {

using formats::GgmlType;

namespace {

constexpr double kRounding = 0x1p-24;  // of a float32 operation, relative
constexpr double kTiny = 1e-30;        // far above what a device may flush to zero

double roundings(uint64_t n_terms) { return std::sqrt(static_cast<double>(n_terms)); }

/// Square root of the mean square.
template <typename T>
double root_mean_square(std::span<const T> row, float eps) {
  double sum = 0;
  for (const T value : row) sum += double{value} * double{value};
  return std::sqrt(sum / static_cast<double>(row.size()) + double{eps});
}

/// The sum of positive terms; then division, square root and two products.
double norm_roundings(uint64_t width) { return (4.0 + roundings(width)) * kRounding; }

std::vector<float> dequantize(const Matrix& w) {
  std::vector<float> weights(w.n_rows * w.n_cols);
  formats::dequantize_row(w.kind.type, w.rows.data(), weights.data(), weights.size());
  return weights;
}

/// As quant_act.comp: d = max|x| / 127, q = round(x / d), for each 32 elements.
void round_to_int8(std::span<double> block) {
  float largest = 0;
  for (const double x : block) largest = std::max(largest, std::abs(static_cast<float>(x)));
  if (largest <= 1e-30f) {
    std::fill(block.begin(), block.end(), 0.0);
    return;
  }
  const float d = largest * (1.0f / 127.0f);
  const float inverse = 127.0f / largest;
  for (double& x : block) {
    const float code = std::clamp(std::nearbyint(static_cast<float>(x) * inverse), -127.0f, 127.0f);
    x = double{d} * double{code};
  }
}

std::vector<double> operand(const MatrixKind& kind, std::span<const float> x, uint64_t n_cols) {
  std::vector<double> rounded(x.begin(), x.end());
  if (kind.linear_class == LinearClass::f32) return rounded;
  KL_CHECK(n_cols % 32 == 0, "int8 activations come in whole blocks");
  for (size_t at = 0; at < rounded.size(); at += 32) {
    round_to_int8(std::span(rounded).subspan(at, 32));
  }
  return rounded;
}

/// 2 sqrt(2 / pi) (x + 0.044715 x^3): gelu_tanh(x) = x / (1 + e^-argument).
double gelu_argument(double x) {
  return 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}

/// Four roundings in the exponent's argument, which exp turns into |argument| times as much; two
/// ulp for exp; 2.5 ulp for Vulkan's division, a sum and the last product. exp counts as far as it
/// is the larger term of the sum.
double gelu_roundings(double x) {
  const double argument = gelu_argument(x);
  const double share = 1 / (1 + std::exp(argument));
  return ((4 * std::abs(argument) + 4) * share + 7) * kRounding;
}

Expected exactly(std::span<const float> values) {
  return {std::vector<double>(values.begin(), values.end()), std::vector<double>(values.size())};
}

Expected norm_rows(const Expected& x, std::span<const float> weight, float eps) {
  const size_t width = weight.size();
  Expected y;
  for (size_t first = 0; first < x.values.size(); first += width) {
    const auto row = std::span<const double>(x.values).subspan(first, width);
    const auto errors = std::span<const double>(x.bounds).subspan(first, width);
    const double root = root_mean_square(row, eps);
    // What the row's errors do to its norm, relative: the norm is at most off by theirs.
    const double root_error = root_mean_square(errors, 0.0f) / root;
    for (size_t i = 0; i < width; ++i) {
      const double value = row[i] / root * weight[i];
      y.add(value, std::abs(value) * (norm_roundings(width) + root_error) +
                       errors[i] / root * std::abs(double{weight[i]}) + kTiny);
    }
  }
  return y;
}

/// The seam between two blocks; args.delta is not read.
ResidualNormResult seam(const Expected& delta, const ResidualNormArgs& args) {
  const Expected normed = args.post.empty() ? delta : norm_rows(delta, args.post, args.eps);
  ResidualNormResult result;
  for (size_t i = 0; i < normed.values.size(); ++i) {
    const double scale = args.scale;
    const double terms = (std::abs(double{args.x[i]}) + std::abs(normed.values[i])) * scale;
    result.x.add((args.x[i] + normed.values[i]) * scale,
                 normed.bounds[i] * std::abs(scale) + std::abs(terms) * 2 * kRounding + kTiny);
  }
  result.y = norm_rows(result.x, args.next, args.eps);
  return result;
}

}  // namespace

Expected rms_norm(std::span<const float> x, std::span<const float> weight, float eps) {
  return norm_rows(exactly(x), weight, eps);
}

Expected rms_norm(const Expected& x, std::span<const float> weight, float eps) {
  return norm_rows(x, weight, eps);
}

Expected layer_norm(const LayerNormArgs& args) {
  const size_t width = args.weight.size();
  const auto n = static_cast<double>(width);
  const bool centred = !args.bias.empty();
  Expected y;
  std::vector<double> v(width), off(width);  // what is normed, and how far off it may be
  for (size_t row = 0; row < args.x.size(); row += width) {
    double mean = 0, magnitude = 0, squares = 0;
    for (size_t i = 0; i < width; ++i) {
      v[i] = args.x[row + i];
      off[i] = std::abs(v[i]);
      for (const auto& added : {args.shift, args.a.empty() ? args.a : args.a.subspan(row, width),
                                args.b.empty() ? args.b : args.b.subspan(row, width)}) {
        if (added.empty()) continue;
        v[i] += added[i];
        off[i] += std::abs(added[i]);
      }
      off[i] *= 2 * kRounding;
      mean += v[i] / n;
      magnitude += std::abs(v[i]) / n;
    }
    if (!centred) mean = magnitude = 0;
    for (const double value : v) squares += (value - mean) * (value - mean) / n;
    const double deviation = std::sqrt(squares + double{args.eps});
    const double mean_off = (4 + roundings(width)) * kRounding * magnitude;
    for (size_t i = 0; i < width; ++i) {
      const double d = v[i] - mean;
      const double d_off = off[i] + mean_off + std::abs(d) * kRounding;
      const double scaled = d / deviation * args.weight[i];
      const double scaled_off =
          d_off / deviation * std::abs(args.weight[i]) +
          std::abs(scaled) * (norm_roundings(width) + 4 * kRounding + mean_off / deviation);
      const double bias = centred ? double{args.bias[i]} : 0.0;
      y.add(scaled + bias, scaled_off + (std::abs(scaled) + std::abs(bias)) * kRounding + kTiny);
    }
  }
  return y;
}

ResidualNormResult residual_norm(const ResidualNormArgs& args) {
  return seam(exactly(args.delta), args);
}

ResidualNormResult expert_sum(const ExpertSumArgs& sum, const ResidualNormArgs& args) {
  const size_t width = args.post.size();
  const size_t n_used = sum.weights.size() / (args.x.size() / width);
  Expected outs;
  for (size_t i = 0; i < args.x.size(); ++i) {
    double value = 0, magnitude = 0;
    for (size_t j = 0; j < n_used; ++j) {
      const size_t slot = i / width * n_used + j;
      const double term = double{sum.weights[slot]} * sum.outs[slot * width + i % width];
      value += term;
      magnitude += std::abs(term);
    }
    outs.add(value, magnitude * static_cast<double>(n_used) * kRounding);
  }
  const Expected normed_mlp = norm_rows(exactly(sum.mlp), sum.mlp_norm, args.eps);
  const Expected normed_outs = norm_rows(outs, sum.outs_norm, args.eps);
  Expected delta;
  for (size_t i = 0; i < outs.values.size(); ++i) {
    const double value = normed_mlp.values[i] + normed_outs.values[i];
    delta.add(value, normed_mlp.bounds[i] + normed_outs.bounds[i] + std::abs(value) * kRounding);
  }
  return seam(delta, args);
}

Expected geglu(const Expected& gate, const Expected& up) {
  constexpr double kSteepest = 1.13;  // slope of gelu_tanh
  Expected out;
  for (size_t i = 0; i < gate.values.size(); ++i) {
    const double x = gate.values[i];
    const double gelu = x / (1 + std::exp(-gelu_argument(x)));
    const double value = gelu * up.values[i];
    // The gate is cut off where the sigmoid falls below e^-87.
    const double cut_off = std::abs(x * up.values[i]) * std::exp(-87.0) + kTiny;
    const double passed_on = kSteepest * gate.bounds[i] * (std::abs(up.values[i]) + up.bounds[i]) +
                             std::abs(gelu) * up.bounds[i];
    out.add(value, std::abs(value) * gelu_roundings(x) + cut_off + passed_on);
  }
  return out;
}

Expected geglu(std::span<const float> gate, std::span<const float> up) {
  return geglu(exactly(gate), exactly(up));
}

Expected rope_head(std::span<const float> x, std::span<const float> weight, const RopeShape& rope,
                   uint32_t position, bool rotates, float eps) {
  const uint32_t d = rope.head_dim;
  const double root = root_mean_square(x, eps);
  std::vector<double> y(d);
  for (uint32_t i = 0; i < d; ++i) y[i] = x[i] / root * (weight.empty() ? 1.0 : weight[i]);
  for (uint32_t i = 0; rotates && i < rope.n_pairs; ++i) {
    const double angle = position * std::pow(rope.theta, -2.0 * i / d);
    const double a = y[i];
    const double b = y[i + d / 2];
    y[i] = a * std::cos(angle) - b * std::sin(angle);
    y[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
  }
  Expected head;
  for (uint32_t i = 0; i < d; ++i) {
    // The norm; then two table entries, their combination and the rotation: at most 8 roundings of
    // the pair's length.
    const double length = std::hypot(y[i], y[(i + d / 2) % d]);
    head.add(y[i], length * (norm_roundings(d) + 8 * kRounding) + kTiny);
  }
  return head;
}

void add_kv_rounding(Expected& head, KvType type) {
  if (type == KvType::f32) return;
  for (size_t i = 0; i < head.values.size(); ++i) {
    if (type == KvType::f16) {  // one unit: packHalf2x16 may round either way
      head.bounds[i] += std::abs(head.values[i]) * 0x1p-10 + 0x1p-24;
      continue;
    }
    double peak = 0;
    for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) {
      peak = std::max(peak, std::abs(head.values[j]));
    }
    head.bounds[i] += peak / 127 * 0.5 * (1 + 0x1p-9);  // half a step, itself off by an f16 unit
  }
}

Expected attention_head(const HostCache& k, const HostCache& v, std::span<const float> q,
                        uint32_t sequence, uint32_t position, uint32_t kv_head, OwnKey own_key,
                        uint32_t n_ahead) {
  const uint32_t d = k.view().head_dim;
  const uint32_t window = k.view().window;
  const uint32_t first = window == 0 || position < window ? 0 : position - window + 1;
  const uint32_t n_keys = position - first + (own_key == OwnKey::seen ? 1 : 0) + n_ahead;
  std::vector<double> scores(n_keys);
  std::vector<double> score_bounds(n_keys);
  double q_norm = 0;
  for (const float value : q) q_norm += double{value} * value;
  for (uint32_t j = 0; j < n_keys; ++j) {
    double k_norm = 0;
    for (uint32_t i = 0; i < d; ++i) {
      const double key = k.get(sequence, first + j, kv_head, i);
      scores[j] += q[i] * key;
      k_norm += key * key;
    }
    score_bounds[j] = std::sqrt(q_norm * k_norm) * (4 + roundings(d)) * kRounding;
  }
  const double peak = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (const double score : scores) total += std::exp(score - peak);
  Expected out{std::vector<double>(d), std::vector<double>(d, kTiny)};
  for (uint32_t j = 0; j < n_keys; ++j) {
    const double weight = std::exp(scores[j] - peak) / total;
    // Vulkan's bound for exp is 3 + 2 |x| units; twice, as the running maximum rescales; then the
    // sums over keys. Numerator and denominator each carry the error.
    const double error = 2 * (score_bounds[j] + 2 * (3 + 2 * (peak - scores[j])) * 2 * kRounding +
                              (4 + roundings(n_keys)) * kRounding);
    for (uint32_t i = 0; i < d; ++i) {
      const double term = weight * double{v.get(sequence, first + j, kv_head, i)};
      out.values[i] += term;
      out.bounds[i] += std::abs(term) * error;
    }
  }
  return out;
}

Expected linear(const Matrix& w, std::span<const float> x) {
  const std::vector<float> weights = dequantize(w);
  const std::vector<double> rounded = operand(w.kind, x, w.n_cols);
  // The products of a block of 32 are summed, then the blocks; four more for scales and the parts
  // of K. Codes have a bias, so that a block's magnitude is up to three times its largest weight.
  const double n_roundings = 4.0 + roundings(32) + roundings(div_up<uint64_t>(w.n_cols, 32));
  Expected y;
  for (size_t i = 0; i < rounded.size() / w.n_cols * w.n_rows; ++i) {
    const float* row = &weights[i % w.n_rows * w.n_cols];
    const double* column = &rounded[i / w.n_rows * w.n_cols];
    double sum = 0;
    double magnitude = 0;
    for (uint64_t block = 0; block < w.n_cols; block += 32) {
      double largest = 0;
      double x_norm = 0;
      for (uint64_t k = block; k < std::min(block + 32, w.n_cols); ++k) {
        sum += double{row[k]} * column[k];
        largest = std::max(largest, std::abs(double{row[k]}));
        x_norm += std::abs(column[k]);
      }
      magnitude += 3 * largest * x_norm;
    }
    y.add(sum, magnitude * n_roundings * kRounding + kTiny);
  }
  return y;
}

std::vector<float> decode_rounded(std::span<const std::byte> rows, LinearClass linear_class) {
  const size_t block_bytes = quantized_width(linear_class, 32) * sizeof(uint32_t);
  const size_t code_bytes = linear_class == LinearClass::int8_swar ? sizeof(uint32_t) : 1;
  std::vector<float> values;
  for (size_t block = 0; block < rows.size(); block += block_bytes) {
    const auto d = load<float>(&rows[block + block_bytes - 4 * sizeof(uint32_t)]);
    for (size_t i = 0; i < 32; ++i) {
      values.push_back(d * static_cast<float>(load<int8_t>(&rows[block + i * code_bytes])));
    }
  }
  return values;
}

Expected embed(const Matrix& w, std::span<const uint32_t> tokens, float scale) {
  const std::vector<float> weights = dequantize(w);
  Expected y;
  for (const uint32_t token : tokens) {
    const float* row = &weights[token * w.n_cols];
    for (uint64_t i = 0; i < w.n_cols; ++i) {
      // The weight's parts and the product; a K-quant subtracts two products.
      double largest = 0;
      for (uint64_t j = i / 32 * 32; j < std::min(i / 32 * 32 + 32, w.n_cols); ++j) {
        largest = std::max(largest, std::abs(double{row[j]}));
      }
      const double magnitude = w.kind.type == GgmlType::q4_k ? 3 * largest : std::abs(row[i]);
      y.add(double{row[i]} * scale, magnitude * std::abs(double{scale}) * 4 * kRounding + kTiny);
    }
  }
  return y;
}

}  // namespace kimberlite::kernels::reference
