// Rows to and from blocks that a test has built byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "formats/quant.hpp"
#include "tests/formats/bytes.hpp"

namespace kimberlite::formats {

inline constexpr uint16_t kHalf0_5 = 0x3800;     // 0.5
inline constexpr uint16_t kHalf0_25 = 0x3400;    // 0.25
inline constexpr uint16_t kHalfMinus2 = 0xc000;  // -2

inline std::vector<float> dequantize(GgmlType type, const Bytes& bytes, uint64_t n) {
  EXPECT_EQ(bytes.str().size(), *row_bytes(type, n));
  std::vector<float> out(n);
  dequantize_row(type, bytes.span().data(), out.data(), n);
  return out;
}

inline std::string quantize(GgmlType type, const std::vector<float>& values) {
  std::string out(*row_bytes(type, values.size()), '\0');
  quantize_row(type, values.data(), reinterpret_cast<std::byte*>(out.data()), values.size());
  return out;
}

inline std::vector<int> random_codes(size_t n, int low, int high, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int> codes(n);
  for (int& code : codes)
    code = low + static_cast<int>(random() % static_cast<uint32_t>(high - low + 1));
  return codes;
}

}  // namespace kimberlite::formats
