// A vocabulary small enough to reason about, with every kind of token: for tests that need no file.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "text/vocabulary.hpp"

namespace kimberlite::text::testing {

inline void add_token(Vocabulary& vocabulary, std::string_view piece, TokenType type) {
  vocabulary.tokens.emplace_back(piece);
  vocabulary.types.push_back(static_cast<int32_t>(type));
}

inline void add_merge(Vocabulary& vocabulary, std::string_view left, std::string_view right) {
  vocabulary.merges.push_back({std::string(left).append(right), left.size()});
}

/// <pad> 0, <eos> 1, <bos> 2, <unk> 3, turns 4 and 5, <|tool_response> 6, <|think|> 7, channels 8
/// and 9, the byte tokens 10 .. 265, then text pieces.
inline Vocabulary tiny_vocabulary() {
  Vocabulary v;
  for (const char* piece : {"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"}) {
    add_token(v, piece, TokenType::control);
  }
  add_token(v, "<|tool_response>", TokenType::user_defined);
  add_token(v, "<|think|>", TokenType::control);
  add_token(v, "<|channel>", TokenType::user_defined);
  add_token(v, "<channel|>", TokenType::user_defined);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string piece = {'<', '0', 'x', kHex[byte / 16], kHex[byte % 16], '>'};
    add_token(v, piece, TokenType::byte);
  }
  for (const char* piece : {"a", "b", "c", "<", ">", "|", "\xE2\x96\x81", "\n", "é", "ab", "bc",
                            "abc", "▁a", "▁▁", "\n\n", "\n\n\n", "éé", "aa", "aaaa"}) {
    add_token(v, piece, TokenType::normal);
  }
  add_merge(v, "\n\n", "\n");
  add_merge(v, "\n", "\n");
  add_merge(v, "▁", "▁");
  add_merge(v, "b", "c");
  add_merge(v, "a", "b");
  add_merge(v, "a", "bc");
  add_merge(v, "▁", "a");
  add_merge(v, "é", "é");
  add_merge(v, "a", "a");
  add_merge(v, "aa", "aa");
  v.bos_id = 2;
  v.eos_id = 1;
  v.unknown_id = 3;
  v.padding_id = 0;
  return v;
}

}  // namespace kimberlite::text::testing
