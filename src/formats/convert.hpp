// Hugging Face folder to GGUF: config.json, safetensors, tokenizer.json and, where they are there,
// generation_config.json, tokenizer_config.json and chat_template.jinja.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/ggml_type.hpp"

namespace kimberlite::formats {

struct ConvertOptions {
  std::string name = {};         // general.name; empty: the folder's
  std::string description = {};  // general.description; empty: none
  /// Write the projector of pictures and sounds (gemma4uv, gemma4ua and gemma4v) in place of the
  /// text model.
  bool mmproj = false;
  /// Of the matrices: f32, f16, bf16, q8_0 or q4_0. Norms, scalars, biases and the router are
  /// always f32, the embedding of patches and positions too unless the matrices are quantised; the
  /// projection of the per-layer inputs is at least bf16.
  GgmlType type = GgmlType::bf16;
  /// Replace an existing output file. Without it an existing file is an error.
  bool overwrite = false;
  /// (bytes written, bytes in all) of tensor data. Returning false cancels.
  std::function<bool(uint64_t, uint64_t)> progress = {};
};

struct ConvertReport {
  uint64_t n_tensors = 0;          // in the output
  uint64_t n_parameters = 0;       // of them
  uint64_t n_bytes = 0;            // tensor data written
  uint64_t n_skipped = 0;          // tensors that belong into another file: media or text
  std::vector<std::string> notes;  // what a user should know, one sentence each
};

/// Converts folder `dir` (UTF-8) to `out_path`: a Gemma 4 text model, a drafter (an "assistant"),
/// as the config has it, or the projector of a Unified model. Errors: unsupported for other models,
/// by name; bad_file where a tensor is missing, unknown or of another shape than the config says,
/// or holds a number that `type` cannot express; invalid_argument for a type that cannot be written
/// and for an existing output. On failure no output is left.
Result<ConvertReport> convert(const std::string& dir, const std::string& out_path,
                              const ConvertOptions& options);

}  // namespace kimberlite::formats
