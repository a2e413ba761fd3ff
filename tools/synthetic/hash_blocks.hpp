// Quantised blocks straight from the hash: valid, with sane scales, as fast as a disk takes them.
// The definition is in tools/README.md; tools/reference/hash_blocks.py makes the same K blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/ggml_type.hpp"
#include "synthetic/hash_weights.hpp"

namespace kimberlite::synthetic {

/// Whether `type` can be made this way: q4_0, q8_0, q4_k, q6_k.
bool can_make_blocks(formats::GgmlType type);
/// Whether matrices of `type` are made this way whatever their size, as in the reference: q4_k,
/// q6_k.
bool is_always_blocks(formats::GgmlType type);

/// Whole blocks first_block, first_block + 1, ... until `bytes` is full. `stream` is that of the
/// name "TENSOR#TYPE"; `spread` that of the tensor. Aborts where can_make_blocks is false or
/// `bytes` is not a whole number of blocks. Thread-safe.
void fill_blocks(formats::GgmlType type, const HashStream& stream, float spread,
                 uint64_t first_block, std::span<std::byte> bytes);

}  // namespace kimberlite::synthetic
