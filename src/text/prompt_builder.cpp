// The prompt builder: encodes the text between control tokens as one piece.
#include "text/prompt_builder.hpp"

#include <utility>

namespace kimberlite::text {

Status PromptBuilder::add_control(int32_t id) {
  KL_TRY(encode_text());
  ids_.push_back(id);
  return {};
}

Result<std::vector<int32_t>> PromptBuilder::finish() {
  KL_TRY(encode_text());
  return std::exchange(ids_, {});
}

Status PromptBuilder::encode_text() {
  if (text_.empty()) return {};
  KL_ASSIGN(const std::vector<int32_t> ids, tokenizer_->encode(text_, {.parse_special = false}));
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  text_.clear();
  return {};
}

}  // namespace kimberlite::text
