#include "kernels/sample_oracle.hpp"

#include <algorithm>
#include <vector>

#include "base/result.hpp"
#include "shaders/common/sampling.h"

namespace kimberlite::kernels {
namespace {

using shaders::SequenceState;

struct Candidate {
  float x;  // after penalties and temperature
  uint32_t id;

  /// Larger logits first, lower ids among equals.
  bool operator<(const Candidate& other) const {
    return x != other.x ? x > other.x : id < other.id;
  }
};

float penalised(float logit, uint32_t count, const SequenceState& state) {
  float value = logit * (logit > 0.0f ? state.inverse_repeat : state.repeat);
  value -= static_cast<float>(std::min(count, 0xffffffu)) * state.frequency;
  return value - state.presence;
}

std::vector<Candidate> find_candidates(const HostSample& in, const SequenceState& state) {
  const bool penalties = state.repeat != 1.0f || state.presence != 0.0f || state.frequency != 0.0f;
  const float factor = state.inverse_temperature == 0.0f ? 1.0f : state.inverse_temperature;
  std::vector<Candidate> candidates;
  candidates.reserve(in.logits.size());
  for (uint32_t id = 0; id < in.logits.size(); ++id) {
    float value = shaders::canonical(in.logits[id]);
    if (std::isinf(value) || std::ranges::count(in.suppress, id) != 0) continue;
    if (!in.mask.empty() && (in.mask[id / 32] >> (id % 32) & 1) == 0) continue;
    if (penalties) {
      const auto n_drafts = static_cast<uint32_t>(std::ranges::count(in.drafts, id));
      const uint32_t count = (in.counts.empty() ? 0 : in.counts[id]) + n_drafts;
      if (count != 0) value = penalised(value, count, state);
    }
    value = shaders::canonical(value * factor);
    if (!std::isinf(value)) candidates.push_back({value, id});
  }
  return candidates;
}

uint64_t weight_of(const Candidate& candidate, float best) {
  const shaders::U64 weight = shaders::weight_of(candidate.x, best);
  return uint64_t{weight.high} << 32 | weight.low;
}

/// floor(total * fraction / 2^32) without 128 bits.
uint64_t scaled(uint64_t total, uint32_t fraction) {
  return (total >> 32) * fraction + (((total & 0xffffffffu) * fraction) >> 32);
}

void keep_top_k(std::vector<Candidate>& candidates, uint32_t k) {
  if (k == 0 || k >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + k, candidates.end());
  candidates.resize(k);
}

void keep_top_p(std::vector<Candidate>& candidates, uint32_t top_p_scaled, float best) {
  if (top_p_scaled == shaders::kTopPOff) return;
  std::sort(candidates.begin(), candidates.end());
  uint64_t total = 0;
  for (const Candidate& candidate : candidates) total += weight_of(candidate, best);
  const uint64_t target = std::max<uint64_t>(1, scaled(total, top_p_scaled));
  uint64_t sum = 0;
  size_t n = 0;
  while (n < candidates.size() && sum < target) sum += weight_of(candidates[n++], best);
  candidates.resize(n);
}

}  // namespace

float sample_noise(uint64_t seed, uint32_t position, uint32_t token) {
  const shaders::Random4 random =
      shaders::philox(shaders::noise_counter(token), position, static_cast<uint32_t>(seed),
                      static_cast<uint32_t>(seed >> 32));
  return shaders::gumbel(shaders::random_word(random, shaders::noise_word(token)));
}

std::optional<uint32_t> sample_on_host(const HostSample& in, const SequenceState& state) {
  KL_CHECK(in.counts.empty() || in.counts.size() == in.logits.size(), "one count for each logit");
  std::vector<Candidate> candidates = find_candidates(in, state);
  if (candidates.empty()) return std::nullopt;
  const Candidate top = *std::min_element(candidates.begin(), candidates.end());
  if (state.inverse_temperature == 0.0f) return top.id;

  keep_top_k(candidates, state.top_k);
  keep_top_p(candidates, state.top_p_scaled, top.x);
  if (state.log_min_p > shaders::kMinPOff) {
    const float floor_x = shaders::canonical(top.x + state.log_min_p);
    std::erase_if(candidates, [&](const Candidate& c) { return c.x < floor_x; });
  }
  const uint64_t seed = uint64_t{state.seed_high} << 32 | state.seed_low;
  Candidate best = candidates.front();
  for (size_t i = 0; i < candidates.size(); ++i) {
    Candidate scored = candidates[i];
    scored.x = shaders::canonical((scored.x - top.x) + sample_noise(seed, in.position, scored.id));
    if (i == 0 || scored < best) best = scored;
  }
  return best.id;
}

}  // namespace kimberlite::kernels
