// Packed matrices for kernel tests: random rows of any type, packed and uploaded, with the weights
// that they stand for.
#pragma once

#include <cmath>
#include <random>

#include "base/numeric.hpp"
#include "formats/quant.hpp"
#include "kernels/packed_matrix.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {

/// Every type that kernels read.
inline std::vector<formats::GgmlType> packed_types() {
  std::vector<formats::GgmlType> types;
  for (const formats::GgmlTraits& traits : formats::ggml_types()) {
    if (can_pack(traits.type)) types.push_back(traits.type);
  }
  return types;
}

/// GGUF bytes of random rows: every code is drawn, scales are finite halves of both signs.
inline std::vector<std::byte> random_rows(formats::GgmlType type, uint64_t n_rows, uint64_t n_cols,
                                          uint32_t seed) {
  const formats::GgmlTraits& traits = formats::traits(type);
  const uint64_t n_bytes = n_rows * n_cols / traits.block_elems * traits.block_bytes;
  std::mt19937 engine(seed);
  std::vector<std::byte> rows(n_bytes);
  const auto put_half = [&](uint64_t at) {
    const float value = (static_cast<float>(engine() >> 8) * 0x1p-24f - 0.5f) * 0.2f;
    const uint16_t half = float_to_half(value);
    std::memcpy(&rows[at], &half, 2);
  };
  if (type == formats::GgmlType::f32 || type == formats::GgmlType::bf16) {
    for (uint64_t i = 0; i < n_rows * n_cols; ++i) {
      const float value = static_cast<float>(engine() >> 8) * 0x1p-24f - 0.5f;
      const uint16_t bf = float_to_bfloat(value);
      if (type == formats::GgmlType::f32) std::memcpy(&rows[i * 4], &value, 4);
      if (type == formats::GgmlType::bf16) std::memcpy(&rows[i * 2], &bf, 2);
    }
    return rows;
  }
  if (type == formats::GgmlType::f16) {
    for (uint64_t i = 0; i < n_bytes; i += 2) put_half(i);
    return rows;
  }
  for (std::byte& byte : rows) byte = static_cast<std::byte>(engine());
  for (uint64_t block = 0; block < n_bytes; block += traits.block_bytes) {
    for (const uint32_t offset : formats::half_offsets(type)) put_half(block + offset);
    if (type == formats::GgmlType::mxfp4) rows[block] = std::byte(116 + engine() % 16);
  }
  return rows;
}

/// The weights, by the reference decoder.
inline std::vector<float> decode_rows(formats::GgmlType type, const std::vector<std::byte>& rows,
                                      uint64_t n_rows, uint64_t n_cols) {
  std::vector<float> weights(n_rows * n_cols);
  formats::dequantize_row(type, rows.data(), weights.data(), weights.size());
  return weights;
}

class LinearTest : public testing::GpuTest {
 protected:
  /// Plans with caps_, packs and uploads.
  PackedMatrix pack(formats::GgmlType type, uint64_t n_rows, uint64_t n_cols,
                    const std::vector<std::byte>& rows,
                    LinearClass linear_class = LinearClass::f32) {
    const PackedLayout layout = plan_packed(type, n_rows, n_cols, caps_, linear_class);
    PackedMatrix matrix{type, linear_class, n_rows, n_cols, layout.n_steps, {}};
    const uint64_t row_bytes = rows.size() / n_rows;
    for (const ShardLayout& shard : layout.shards) {
      std::vector<std::byte> codes(shard.codes_bytes);
      std::vector<std::byte> scales(shard.scales_bytes);
      pack_rows(layout, shard.n_rows,
                std::span(rows).subspan(shard.first_row * row_bytes, shard.n_rows * row_bytes),
                codes, scales);
      matrix.shards.push_back(
          {shard.first_row, shard.n_rows, upload_wide(codes.data(), codes.size()),
           scales.empty() ? graph::Tensor{} : upload_wide(scales.data(), scales.size())});
    }
    return matrix;
  }
};

}  // namespace kimberlite::kernels
