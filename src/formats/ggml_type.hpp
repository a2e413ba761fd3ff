// The tensor element types of GGUF files: ids, names and block sizes. Facts only, no arithmetic on
// values (quant.hpp has that).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kimberlite::formats {

/// The ids that ggml writes into files. 4, 5, 31-33 and 36-38 were retired by ggml and are refused.
enum class GgmlType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42,
};

/// A row is a sequence of blocks of `block_elems` elements in `block_bytes` bytes each.
struct GgmlTraits {
  GgmlType type;
  std::string_view name;  // lower case, as on the command line: "q4_0"
  uint32_t block_elems;
  uint32_t block_bytes;
};

/// Every type, in the order of the ids.
std::span<const GgmlTraits> ggml_types();

/// The traits of an enumerator. Aborts on a number that is none: check with find_ggml_type first.
const GgmlTraits& traits(GgmlType type);

/// By the id found in a file; nothing for retired and unknown ids.
std::optional<GgmlType> find_ggml_type(uint32_t id);
/// By name in lower case, such as "q4_0"; nothing for an unknown name.
std::optional<GgmlType> find_ggml_type(std::string_view name);

/// Bytes of `n` elements, or nothing where `n` is not a multiple of the block or the size
/// overflows.
std::optional<uint64_t> row_bytes(GgmlType type, uint64_t n);

}  // namespace kimberlite::formats
