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

Result<MediaPrompt> Conversation::add_user(const std::string& user, std::vector<Part> media) {
  if (!raw_) {
    if (!user.empty() || media.empty()) media.emplace_back(user);
    messages_.push_back({Role::user, std::move(media)});
    return encode_media_chat(*model_, messages_);
  }
  n_before_user_ = tokens_.size();
  if (!media.empty()) {
    return Error{ErrorCode::unsupported,
                 "pictures, sounds and videos need chat turns, not plain text"};
  }
  // Without turns the system text is the beginning of the text.
  const bool is_first = tokens_.empty();
  const std::string text = is_first && !system_.empty() ? system_ + "\n" + user : user;
  auto ids = model_->encode(text, is_first);
  if (!ids.ok()) return ids.error();
  tokens_.insert(tokens_.end(), ids->begin(), ids->end());
  return MediaPrompt(tokens_);
}

void Conversation::add_answer(const std::string& text, const std::vector<int32_t>& tokens) {
  if (raw_) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  } else {
    messages_.push_back({Role::model, {text}});
  }
}

std::vector<Part> Conversation::drop_user() {
  std::vector<Part> parts;
  if (raw_) {
    tokens_.resize(n_before_user_);
  } else if (!messages_.empty() && messages_.back().role == Role::user) {
    parts = std::move(messages_.back().parts);
    messages_.pop_back();
    std::erase_if(parts,
                  [](const Part& part) { return std::holds_alternative<std::string>(part); });
  }
  return parts;
}

void Conversation::clear() {
  messages_.clear();
  tokens_.clear();
  if (!system_.empty()) messages_.push_back({Role::system, {system_}});
}

void Conversation::set_system(std::string system) {
  system_ = std::move(system);
  clear();
}

}  // namespace kimberlite::cli
