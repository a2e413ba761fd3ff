// tokenizer.json and its companions to the tokenizer.* keys of GGUF. Internal to formats.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "formats/convert_config.hpp"
#include "formats/gguf_writer.hpp"

namespace kimberlite::formats {

/// Sets the tokenizer.* keys from the files in folder `dir`; without tokenizer.json the model works
/// on token ids only, and a note says so.
Status write_hf_tokenizer(const std::string& dir, const HfTextConfig& config, GgufWriter& writer,
                          std::vector<std::string>& notes);

/// Sets general.sampling.* and the suppressed tokens from generation_config.json, if it is there.
Status write_hf_generation(const std::string& dir, const HfTextConfig& config, GgufWriter& writer);

}  // namespace kimberlite::formats
