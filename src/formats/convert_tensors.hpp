// Which tensors of a Hugging Face Gemma 4 folder go into the GGUF file, under which names and in
// which types. Internal to formats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/convert_config.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/safetensors.hpp"

namespace kimberlite::formats {

struct PlannedTensor {
  std::string name;
  GgmlType type;
  std::vector<uint64_t> ne;         // input-first
  const SafetensorsTensor* source;  // null for rope_freqs.weight, which is computed
};

struct TensorPlan {
  std::vector<PlannedTensor> tensors;
  uint64_t n_skipped_media = 0;
  std::vector<std::string> notes;
};

/// Matches every tensor that the config predicts, by name and exact shape, and accounts for every
/// other tensor in the files.
Result<TensorPlan> plan_tensors(const HfTextConfig& config, const Safetensors& files,
                                GgmlType type);

/// Pushes the bytes of `tensor` in its planned type, some megabytes at a time, and releases the
/// source's pages when done.
Status stream_tensor(const PlannedTensor& tensor, const HfTextConfig& config,
                     const Safetensors& files, const ByteSink& sink);

}  // namespace kimberlite::formats
