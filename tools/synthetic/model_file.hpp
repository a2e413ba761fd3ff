// Writes a synthetic model as a complete GGUF file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf_writer.hpp"
#include "synthetic/shapes.hpp"

namespace kimberlite::synthetic {

/// How matrices are stored: any type of formats::can_quantize. Vectors and the router are
/// always f32, the projection of the per-layer inputs is at least bf16, and down projections whose
/// rows are no whole super-blocks are q8_0 where a K type is asked for.
struct ModelTypes {
  ModelTypes(formats::GgmlType all) : matrices{all}, embedding(all) {}
  ModelTypes(formats::GgmlType layers, formats::GgmlType table)
      : matrices{layers}, embedding(table) {}

  std::vector<formats::GgmlType> matrices;  // of the layers, in turn in the order of the file
  formats::GgmlType embedding;              // token_embd.weight, also the head, and per layer
  bool hollow = false;  // matrices are zeros that take no room on disk: for runs without results
  bool as_f32 = false;  // store what those types stand for, so that another file computes the same
};

/// Writes `path` with all metadata, a synthetic tokenizer and hash weights. A matrix of a tiny
/// model holds exactly the hash values, quantised where `types` says so; q4_0 and q8_0 matrices of
/// more than kExactElements elements, and all q4_k and q6_k ones, are random valid blocks. An nvfp4
/// matrix NAME.weight has a scale NAME.scale. Streams
/// with a thread for each processor and a few MiB for each, whatever the size. `progress` may
/// cancel. Errors: invalid_argument (a type that cannot be made, rows that are no whole blocks, a
/// vocabulary under kMinVocab, layers without an earlier one to share with), io, cancelled.
Status write_model(const ModelShape& shape, uint64_t seed, ModelTypes types,
                   const std::string& path, const formats::WriteProgress& progress = {});

inline constexpr uint64_t kExactElements = uint64_t{1} << 22;

/// The float32 values of one tensor as written with type f32: what a CPU reference computes with.
std::vector<float> make_values(const ModelShape& shape, uint64_t seed, const TensorSpec& tensor);

}  // namespace kimberlite::synthetic
