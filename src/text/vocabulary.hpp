// The vocabulary as a file states it, before any index is built: pieces, kinds, merges, ids.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "text/piece_table.hpp"

namespace kimberlite::formats {
class GgufFile;
}

namespace kimberlite::text {

/// GGUF's numbering (tokenizer.ggml.token_type).
enum class TokenType : int32_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,       // turns, media: never made from text that a user wrote
  user_defined = 4,  // channels, tool calls: the same, but shown in output
  unused = 5,
  byte = 6,  // <0x00> .. <0xFF>
};

/// Two neighbouring pieces that become one, kept as the one and the place of the cut.
struct MergeRule {
  std::string joined;
  size_t n_left_bytes;  // at most joined.size()

  [[nodiscard]] std::string_view left() const {
    return std::string_view(joined).substr(0, n_left_bytes);
  }
  [[nodiscard]] std::string_view right() const {
    return std::string_view(joined).substr(n_left_bytes);
  }
};

struct Vocabulary {
  std::vector<std::string> tokens;  // [n_tokens]; bytes, not always UTF-8; may repeat
  std::vector<int32_t> types;       // [n_tokens], values of TokenType
  std::vector<MergeRule> merges;    // the first has the lowest rank
  int32_t bos_id = kNoToken;
  int32_t eos_id = kNoToken;
  int32_t unknown_id = kNoToken;
  int32_t padding_id = kNoToken;
  std::vector<int32_t> suppressed_ids;  // never sampled (12B: media placeholders)
  std::string chat_template;            // Jinja text; empty where the file has none
};

/// Reads tokenizer.ggml.* of a Gemma 4 file. Errors: bad_file where a key is missing or of another
/// length, unsupported for another tokenizer.ggml.model; the message names the key and both values.
Result<Vocabulary> read_vocabulary(const formats::GgufFile& file);

}  // namespace kimberlite::text
