// The prompt of the next turn: a chat, or plain text where the model knows no turns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/common.hpp"
#include "kimberlite/media.hpp"

namespace kimberlite::cli {

class Conversation {
 public:
  /// `raw`: plain completion without turns; so is every vocabulary without turn tokens.
  Conversation(const Model& model, bool raw, std::string system);

  /// The prompt to continue after `user` has spoken, with pictures and sounds before the text.
  /// Errors: those of Model::encode and encode_media_chat; unsupported (media in a plain text).
  Result<MediaPrompt> add_user(const std::string& user, std::vector<Part> media = {});
  /// What the model answered.
  void add_answer(const std::string& text, const std::vector<int32_t>& tokens);
  /// Takes the last user message back, for no answer came. Returns its pictures and sounds.
  std::vector<Part> drop_user();
  /// Forgets everything but the system message.
  void clear();
  /// Another system message, from the beginning.
  void set_system(std::string system);

  [[nodiscard]] bool raw() const { return raw_; }
  /// True where turns were wanted and the vocabulary has none.
  [[nodiscard]] bool fell_back() const { return fell_back_; }

 private:
  const Model* model_;  // Borrowed from the caller.
  bool raw_;
  bool fell_back_ = false;
  std::string system_;
  std::vector<MediaMessage> messages_;
  std::vector<int32_t> tokens_;  // raw: everything so far
  size_t n_before_user_ = 0;     // raw: of tokens_
};

}  // namespace kimberlite::cli
