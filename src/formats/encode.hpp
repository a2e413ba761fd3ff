// A tensor from one type to another, some blocks at a time on several threads, into a byte sink.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.hpp"
#include "formats/ggml_type.hpp"
#include "formats/gguf_writer.hpp"

namespace kimberlite::formats {

/// A tensor to encode. Its rows are whole blocks of both types, so no block straddles two of them.
struct Encoding {
  std::string_view name;  // for messages
  GgmlType from;
  std::span<const std::byte> data;
  GgmlType to;
};

/// The largest magnitude that `to` can stand for, as far as its scales limit it: those are f16.
float max_magnitude(GgmlType to);

/// Pushes the encoded tensor in order, with a few MiB in memory for each thread. Errors: bad_file,
/// naming the first element that is not finite or beyond max_magnitude; those of `sink`.
Status push_encoded(const Encoding& encoding, uint32_t n_threads, const ByteSink& sink);

/// Pushes `bytes` as they are, in pieces, so that a sink can report progress and cancel.
Status push_copied(std::span<const std::byte> bytes, const ByteSink& sink);

}  // namespace kimberlite::formats
