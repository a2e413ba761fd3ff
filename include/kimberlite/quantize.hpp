// Rounding the weights of a GGUF file to another type, and looking at them for damage. Errors
// travel as Result; nothing here prints.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kimberlite/kimberlite.hpp"

namespace kimberlite {

/// What quantize_file writes, finest first: names of types and presets such as "q4_k_m".
std::vector<std::string> quantize_types();
/// Whether quantize_file takes `name`: one of them, or a name that stands for one, such as "q4_k".
bool is_quantize_type(const std::string& name);

struct QuantizeFileOptions {
  std::string type;            // a name that is_quantize_type knows
  std::string embedding_type;  // of the embedding tables; empty: what the preset says
  uint32_t n_threads = 0;      // 0: one per processor
  bool overwrite = false;
  Progress progress;
  std::function<bool()> cancelled;  // asked now and then; true stops, and leaves no file
};

/// Tensors of one type in a file.
struct TypeTotal {
  std::string type;
  uint64_t n_tensors = 0;
  uint64_t n_bytes = 0;
};

struct QuantizeSummary {
  uint64_t n_bytes_before = 0;  // of the tensors
  uint64_t n_bytes = 0;
  std::vector<TypeTotal> types;    // of the output
  std::vector<std::string> notes;  // for the user, one a line
};

/// GGUF in floats or q8_0 to GGUF in another type. Errors: io, bad_file, unsupported (also for
/// matrices that are quantised already), invalid_argument, cancelled; no half file is left.
Result<QuantizeSummary> quantize_file(const std::string& in, const std::string& out,
                                      const QuantizeFileOptions& options);

struct VerifyFileOptions {
  uint32_t n_threads = 0;  // 0: one per processor
  Progress progress;
  std::function<bool()> cancelled;
};

/// A number that no weight can be.
struct BadNumber {
  std::string what;      // "scale is NaN"
  uint64_t element = 0;  // of the tensor; the first one that a bad scale is for
  uint64_t offset = 0;   // in the file
};

struct BadTensor {
  std::string name;
  std::string type;
  uint32_t shard = 0;  // 0 unless the model is split
  uint64_t n_bad = 0;
  std::vector<BadNumber> first;  // a few of them
};

struct VerifySummary {
  uint64_t n_tensors = 0;
  uint64_t n_bytes = 0;
  uint64_t n_bad = 0;
  std::vector<BadTensor> bad;          // in file order
  std::vector<std::string> unchecked;  // tensors of types that this build does not know
};

/// Reads every block of every tensor. Errors: io, bad_file (what GGUF itself forbids), cancelled.
/// Bad numbers are no error of the call.
Result<VerifySummary> verify_file(const std::string& path, const VerifyFileOptions& options);

}  // namespace kimberlite
