// Token ids in, text out, while a model writes: never half a UTF-8 character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.hpp"

namespace kimberlite::text {

/// One per generation. What push() and flush() return, put together, is always valid UTF-8: a
/// character split over tokens is held back until it is whole, broken bytes become U+FFFD.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  /// The text that is certain after this token; often empty. Control tokens (turns, media) give no
  /// text, but end a character that was left open; user-defined ones give their name.
  std::string push(int32_t id);

  /// The rest, at the end of a generation. The decoder may be used again afterwards.
  std::string flush();

  /// Bytes held back: the beginning of a character, at most 3.
  [[nodiscard]] std::string_view pending() const { return pending_; }

 private:
  const Tokenizer* tokenizer_;  // Borrowed from the model.
  std::string pending_;
};

}  // namespace kimberlite::text
