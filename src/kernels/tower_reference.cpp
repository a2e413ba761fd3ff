#include "kernels/tower_reference.hpp"

#include <algorithm>
#include <cmath>

namespace kimberlite::kernels::reference {
namespace {

constexpr double kRounding = 0x1p-24;  // of a float32 operation, relative
constexpr double kTiny = 1e-30;        // far above what a device may flush to zero

double roundings(uint64_t n_terms) { return std::sqrt(static_cast<double>(n_terms)); }

/// One head, normed; then each half of it turned by one coordinate.
void add_head(const Rope2dArgs& args, const float* x, const uint32_t* place, Expected& out) {
  const size_t d = args.weight.size();
  double squares = 0;
  for (size_t i = 0; i < d; ++i) squares += double{x[i]} * x[i];
  const double root = std::sqrt(squares / static_cast<double>(d) + double{args.eps});
  std::vector<double> y(d);
  for (size_t i = 0; i < d; ++i) y[i] = x[i] / root * args.weight[i];
  const size_t half = d / 2, n_pairs = d / 4;
  for (size_t i = 0; place != nullptr && i < half; ++i) {
    const size_t low = i / n_pairs * half + i % n_pairs;
    const double frequency =
        std::pow(args.theta, -2.0 * static_cast<double>(i % n_pairs) / static_cast<double>(half));
    const double angle = place[i / n_pairs] * frequency;
    const double a = y[low], b = y[low + n_pairs];
    y[low] = a * std::cos(angle) - b * std::sin(angle);
    y[low + n_pairs] = b * std::cos(angle) + a * std::sin(angle);
  }
  for (size_t i = 0; i < d; ++i) {
    // The norm: a sum, division, square root and two products; the rotation: two table entries and
    // their products and sum, of the pair's length.
    const size_t in_half = i % half;
    const double other = y[i - in_half + (in_half + n_pairs) % half];
    out.add(y[i], std::hypot(y[i], other) * (10 + roundings(d)) * kRounding + kTiny);
  }
}

/// One head of one query.
void add_query(const TowerAttentionArgs& args, const float* q, uint64_t head, Expected& out) {
  const uint64_t d = args.head_dim;
  const auto row = [&](std::span<const float> all, uint64_t key) {
    return &all[(key * args.n_heads + head) * d];
  };
  std::vector<double> scores(args.n_keys), errors(args.n_keys);
  double q_norm = 0;
  for (uint64_t i = 0; i < d; ++i) q_norm += double{q[i]} * q[i];
  for (uint64_t j = 0; j < args.n_keys; ++j) {
    double k_norm = 0;
    for (uint64_t i = 0; i < d; ++i) {
      const double key = row(args.k, j)[i];
      scores[j] += q[i] * key;
      k_norm += key * key;
    }
    errors[j] = std::sqrt(q_norm * k_norm) * (4 + roundings(d)) * kRounding;
  }
  const double peak = *std::ranges::max_element(scores);
  double total = 0;
  for (const double score : scores) total += std::exp(score - peak);
  std::vector<double> values(d), bounds(d, kTiny);
  for (uint64_t j = 0; j < args.n_keys; ++j) {
    const double weight = std::exp(scores[j] - peak) / total;
    // As of reference::attention_head: exp to Vulkan's bound, twice; sums over keys; numerator and
    // denominator.
    const double error = 2 * (errors[j] + 2 * (3 + 2 * (peak - scores[j])) * 2 * kRounding +
                              (4 + roundings(args.n_keys)) * kRounding);
    for (uint64_t i = 0; i < d; ++i) {
      const double term = weight * double{row(args.v, j)[i]};
      values[i] += term;
      bounds[i] += std::abs(term) * error;
    }
  }
  for (uint64_t i = 0; i < d; ++i) out.add(values[i], bounds[i]);
}

}  // namespace

Expected rope_2d(const Rope2dArgs& args) {
  const size_t d = args.weight.size();
  Expected out;
  for (size_t head = 0; head < args.x.size() / d; ++head) {
    const uint32_t* place = args.places.empty() ? nullptr : &args.places[head / args.n_heads * 2];
    add_head(args, &args.x[head * d], place, out);
  }
  return out;
}

Expected tower_attention(const TowerAttentionArgs& args) {
  Expected out;
  for (uint64_t i = 0; i < args.q.size() / args.head_dim; ++i) {
    add_query(args, &args.q[i * args.head_dim], i % args.n_heads, out);
  }
  return out;
}

Expected patch_pool(const PatchPoolArgs& args) {
  const uint64_t width = args.width, merge = args.merge;
  const uint64_t per_token = merge * merge;
  Expected out;
  for (uint64_t token = 0; token < args.x.size() / width / per_token; ++token) {
    for (uint64_t i = 0; i < width; ++i) {
      double sum = 0, magnitude = 0;
      for (uint64_t index = 0; index < per_token; ++index) {
        const uint64_t y = token / args.n_x * merge + index / merge;
        const uint64_t x = token % args.n_x * merge + index % merge;
        const double value = args.x[(y * args.n_x * merge + x) * width + i];
        sum += value;
        magnitude += std::abs(value);
      }
      const double scale = args.scale / static_cast<double>(per_token);
      double value = sum * scale;
      double error = magnitude * std::abs(scale) * (4 + roundings(per_token)) * kRounding;
      if (!args.bias.empty()) {
        const double factor = std::abs(double{args.factor[i]});
        error = (error + 2 * kRounding * (std::abs(value) + std::abs(args.bias[i]))) * factor;
        value = (value - args.bias[i]) * args.factor[i];
      }
      out.add(value, error + kTiny);
    }
  }
  return out;
}

}  // namespace kimberlite::kernels::reference
