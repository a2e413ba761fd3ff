// Deterministic inputs for the probe: numbers that make mistakes visible and leave a driver no
// freedom in rounding. Internal to the probe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "formats/ggml_type.hpp"

namespace kimberlite::runtime {

/// Uniform in [-scale, scale].
[[nodiscard]] std::vector<float> probe_values(uint64_t n, uint32_t seed, float scale = 1.0f);

/// `n` activations, a multiple of 32, that round to the same int8 codes on every driver: no value
/// is nearer than a tenth of a step to the middle between two codes.
[[nodiscard]] std::vector<float> probe_activations(uint64_t n, uint32_t seed);

/// GGUF bytes of a matrix: every code is drawn, scales are finite and of both signs.
[[nodiscard]] std::vector<std::byte> probe_rows(formats::GgmlType type, uint64_t n_rows,
                                                uint64_t n_cols, uint32_t seed);

}  // namespace kimberlite::runtime
