// Rows of ggml blocks to and from float, on the CPU, one plain loop per format. These are the
// references that the kernels are tested against and what `convert` and `quantize` write with; they
// are written to be read, not to be fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/ggml_type.hpp"

namespace kimberlite::formats {

/// Whether this build knows the block layout of `type`.
bool can_dequantize(GgmlType type);
/// Whether `quantize_row` writes `type`: every type of weights but the codebooks iq1, iq2 and iq3.
bool can_quantize(GgmlType type);

/// Where the f16 scales of a block lie, in bytes from its start. A block whose halves are finite
/// has finite values, whatever its other bytes are.
std::span<const uint32_t> half_offsets(GgmlType type);

/// `n` elements from `src` (exactly row_bytes(type, n) bytes, any alignment) to dst[0, n). Float32
/// arithmetic in the order of the format's definition. Aborts where can_dequantize is false or n
/// is not a whole number of blocks. Thread-safe.
void dequantize_row(GgmlType type, const std::byte* src, float* dst, uint64_t n);

/// The reverse. f16, bf16, q8_0 and q4_0 have ggml's rounding bit for bit: the code is taken with
/// the scale before that is rounded to f16. The others take a group's scale from its extremes and
/// then the nearest code: no search, no importance. Non-finite inputs give finite codes and an
/// undefined value; check before. Aborts where can_quantize is false or n is not a whole number of
/// blocks. Thread-safe.
void quantize_row(GgmlType type, const float* src, std::byte* dst, uint64_t n);

}  // namespace kimberlite::formats
