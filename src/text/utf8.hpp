// UTF-8 one character at a time: how long the character at the front of some bytes is, and whether
// the bytes are whole, cut off or broken. The tokenizer and the stream decoder share this rule.
#pragma once

#include <cstddef>
#include <string_view>

namespace kimberlite::text {

/// U+FFFD, what broken bytes are shown as.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8State {
  valid,       // a whole character (shortest form, no surrogate, at most U+10FFFF)
  incomplete,  // the bytes end inside what may still become a character
  invalid,     // no character starts like this
};

struct Utf8Step {
  Utf8State state;
  /// The character's bytes where valid; all that is left where incomplete; where invalid the
  /// longest run that began like a character, at least 1: one U+FFFD stands for these bytes.
  size_t n_bytes;
  char32_t code_point;  // only where valid
};

/// Looks at the front of `text`, which must not be empty.
[[nodiscard]] Utf8Step scan_utf8(std::string_view text);

/// `text` without the white space at both ends: what Python's str.strip() and thereby the chat
/// template's `trim` take for white space, including U+00A0 and U+3000.
[[nodiscard]] std::string_view trim(std::string_view text);

}  // namespace kimberlite::text
