// Sampling on the host: the reference of the sample_*.comp shaders. Same tokens as the device, by
// another algorithm: sorting.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "shaders/common/sequence.h"

namespace kimberlite::kernels {

struct HostSample {
  std::span<const float> logits;        // [vocab], soft-capped
  std::span<const uint32_t> counts;     // [vocab], or empty: no token has occurred
  std::span<const uint32_t> drafts;     // tokens that count as well
  std::span<const uint32_t> suppress;   // never drawn
  uint32_t position = 0;                // of the token that is drawn
  std::span<const uint32_t> mask = {};  // bits of those that may be drawn, or empty: all may
};

/// The token, or nothing where every logit is -inf or NaN. Reads the seed and the sampling fields
/// of `state` alone.
[[nodiscard]] std::optional<uint32_t> sample_on_host(const HostSample& in,
                                                     const shaders::SequenceState& state);

/// The noise that the device adds to the scaled logit of `token` at `position`.
[[nodiscard]] float sample_noise(uint64_t seed, uint32_t position, uint32_t token);

}  // namespace kimberlite::kernels
