// Weights from a counter: a value is a function of (seed, tensor name, index). The definition is in
// tools/README.md; tools/reference/hash_weights.py computes the same float32 numbers.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kimberlite::synthetic {

/// The endless sequence of hashes of one tensor. A plain value; any index, any order, any thread.
class HashStream {
 public:
  HashStream(uint64_t seed, std::string_view name);

  [[nodiscard]] uint64_t word(uint64_t index) const {
    return mix(key_ + (index + 1) * kGoldenRatio);
  }
  /// In [-1, 1), exact: the top 24 bits.
  [[nodiscard]] float unit(uint64_t index) const {
    const auto top = static_cast<int32_t>(word(index) >> 40) - (1 << 23);
    return static_cast<float>(top) * 0x1p-23f;
  }

 private:
  static constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15u;

  /// The finaliser of splitmix64.
  static constexpr uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }

  uint64_t key_;
};

/// value = offset + spread * unit: one float32 product, one float32 sum.
struct Affine {
  float offset;
  float spread;
};

/// By the tensor's GGUF name; `n_in` is its row length (ne[0]). Aborts on a name that the table in
/// tools/README.md lacks.
Affine affine(std::string_view name, uint64_t n_in, bool is_full);

/// values[i] = the value of index first + i.
void fill_values(const HashStream& stream, Affine map, uint64_t first, std::span<float> values);

}  // namespace kimberlite::synthetic
