#include "runtime/probe_inputs.hpp"

#include <cstring>

#include "base/numeric.hpp"
#include "base/result.hpp"
#include "formats/quant.hpp"

namespace kimberlite::runtime {
namespace {

/// Steele et al. 2014, "Fast splittable pseudorandom number generators".
class SplitMix {
 public:
  explicit SplitMix(uint32_t seed) : state_(uint64_t{seed} << 32) {}
  uint32_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
  }
  /// In [-1, 1).
  float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-23f - 1.0f; }

 private:
  uint64_t state_;
};

template <typename T>
void store(std::vector<std::byte>& bytes, uint64_t at, T value) {
  std::memcpy(&bytes[at], &value, sizeof(T));
}

}  // namespace

std::vector<float> probe_values(uint64_t n, uint32_t seed, float scale) {
  SplitMix random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = random.uniform() * scale;
  return values;
}

std::vector<float> probe_activations(uint64_t n, uint32_t seed) {
  KL_CHECK(n % 32 == 0, "activations in whole blocks");
  SplitMix random(seed);
  std::vector<float> values(n);
  for (uint64_t i = 0; i < n; ++i) {
    if (i % 32 == 7) {
      values[i] = (random.bits() & 1) != 0 ? 127.0f : -127.0f;  // sets the block's step to 1
      continue;
    }
    const auto code = static_cast<int>(random.bits() % 253) - 126;
    values[i] = static_cast<float>(code) + 0.4f * random.uniform();
  }
  for (uint64_t block = 0; block < n; block += 32) {
    const float step = 0x1p-7f + 0x1p-8f * random.uniform();
    for (uint64_t i = block; i < block + 32; ++i) values[i] *= step;
  }
  return values;
}

std::vector<std::byte> probe_rows(formats::GgmlType type, uint64_t n_rows, uint64_t n_cols,
                                  uint32_t seed) {
  using formats::GgmlType;
  const formats::GgmlTraits& traits = formats::traits(type);
  const uint64_t n_elements = n_rows * n_cols;
  std::vector<std::byte> rows(n_elements / traits.block_elems * traits.block_bytes);
  SplitMix random(seed);
  if (traits.block_elems == 1) {
    for (uint64_t i = 0; i < n_elements; ++i) {
      const float value = 0.5f * random.uniform();
      if (type == GgmlType::f32) store(rows, i * 4, value);
      if (type == GgmlType::f16) store(rows, i * 2, float_to_half(value));
      if (type == GgmlType::bf16) store(rows, i * 2, float_to_bfloat(value));
    }
    return rows;
  }
  for (std::byte& byte : rows) byte = static_cast<std::byte>(random.bits());
  // Scales lie between 1/32 and 3/32, so that no row vanishes against its bound.
  const auto put_scale = [&](uint64_t at) {
    const float magnitude = 0x1p-4f + 0x1p-5f * random.uniform();
    store(rows, at, float_to_half((random.bits() & 1) != 0 ? magnitude : -magnitude));
  };
  for (uint64_t block = 0; block < rows.size(); block += traits.block_bytes) {
    for (const uint32_t offset : formats::half_offsets(type)) put_scale(block + offset);
    if (type == GgmlType::mxfp4) rows[block] = std::byte(120 + random.bits() % 8);  // an exponent
  }
  return rows;
}

}  // namespace kimberlite::runtime
