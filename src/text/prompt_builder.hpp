// Builds a prompt from control tokens and plain text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "text/tokenizer.hpp"

namespace kimberlite::text {

/// Text is collected and encoded only when a control token (or the end) follows: pieces may merge
/// across the parts of a turn, and the template's tokens come from the whole text between two
/// control tokens. The text is never searched for control tokens.
class PromptBuilder {
 public:
  explicit PromptBuilder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  void add_text(std::string_view text) { text_ += text; }
  Status add_control(int32_t id);
  /// How many there are, behind a control token.
  [[nodiscard]] uint32_t n_tokens() const { return static_cast<uint32_t>(ids_.size()); }

  /// The prompt; the builder is empty afterwards.
  Result<std::vector<int32_t>> finish();

 private:
  Status encode_text();

  const Tokenizer* tokenizer_;  // Borrowed from the caller.
  std::string text_;            // since the last control token
  std::vector<int32_t> ids_;
};

}  // namespace kimberlite::text
