#include "apps/conversation.hpp"

namespace kimberlite::cli {

Conversation::Conversation(const Model& model, bool raw, std::string system)
    : model_(&model), raw_(raw) {
  if (!raw_) {
    const auto probe = model.encode_chat({{Role::user, ""}});
    fell_back_ = !probe.ok() && probe.error().code == ErrorCode::unsupported;
    raw_ = fell_back_;
  }
  set_system(std::move(system));
}

Result<std::vector<int32_t>> Conversation::add_user(std::string_view user) {
  if (!raw_) {
    messages_.push_back({Role::user, std::string(user)});
    return model_->encode_chat(messages_);
  }
  // Without turns the system text is the beginning of the text.
  const bool is_first = tokens_.empty();
  const std::string text =
      is_first && !system_.empty() ? system_ + "\n" + std::string(user) : std::string(user);
  auto ids = model_->encode(text, is_first);
  if (!ids.ok()) return ids.error();
  n_before_user_ = tokens_.size();
  tokens_.insert(tokens_.end(), ids->begin(), ids->end());
  return tokens_;
}

void Conversation::add_answer(const std::string& text, const std::vector<int32_t>& tokens) {
  if (raw_) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  } else {
    messages_.push_back({Role::model, text});
  }
}

void Conversation::drop_user() {
  if (raw_) {
    tokens_.resize(n_before_user_);
  } else if (!messages_.empty() && messages_.back().role == Role::user) {
    messages_.pop_back();
  }
}

void Conversation::clear() {
  messages_.clear();
  tokens_.clear();
  if (!system_.empty()) messages_.push_back({Role::system, system_});
}

void Conversation::set_system(std::string system) {
  system_ = std::move(system);
  clear();
}

}  // namespace kimberlite::cli
