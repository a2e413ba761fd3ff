// A small vocabulary for synthetic models: the control and byte tokens of Gemma 4 at their real
// ids, printable pieces everywhere else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kimberlite::synthetic {

/// The smallest vocabulary that holds all byte tokens (238..493) and every printable character.
inline constexpr uint32_t kMinVocab = 512;

struct Tokenizer {
  std::vector<std::string> pieces;  // [vocab], all different
  std::vector<int32_t> types;       // [vocab], 1 normal, 3 control, 4 user-defined, 6 byte
  std::vector<std::string> merges;  // "left right"; left, right and their sum are pieces
};

/// `vocab` is at least kMinVocab. Control tokens beyond it (pictures, sounds) are left out.
Tokenizer make_tokenizer(uint32_t vocab);

}  // namespace kimberlite::synthetic
