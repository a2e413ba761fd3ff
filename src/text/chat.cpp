// Renders conversations the way Google's template does, as tokens instead of text.
#include "text/chat.hpp"

#include "text/utf8.hpp"

namespace kimberlite::text {
namespace {

constexpr std::string_view kChannelBegin = "<|channel>";
constexpr std::string_view kChannelEnd = "<channel|>";

std::string_view name_of(Role role) {
  switch (role) {
    case Role::system:
      return "system";
    case Role::user:
      return "user";
    case Role::model:
      return "model";
  }
  KL_CHECK(false, "a role outside the enumeration");
}

Error missing(std::string_view piece) {
  return {ErrorCode::unsupported,
          "chat: the vocabulary has no " + std::string(piece) + " control token"};
}

Result<int32_t> require(const Tokenizer& tokenizer, std::string_view piece) {
  const auto id = tokenizer.find_special(piece);
  if (!id) return missing(piece);
  return *id;
}

std::string content_of(const Message& message) {
  if (message.role == Role::model) return strip_thoughts(message.text);
  return std::string(trim(message.text));
}

}  // namespace

std::string strip_thoughts(std::string_view text) {
  std::string kept;
  while (true) {
    const size_t end = text.find(kChannelEnd);
    const std::string_view part = text.substr(0, end);
    kept += part.substr(0, part.find(kChannelBegin));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + kChannelEnd.size());
  }
  return std::string(trim(kept));
}

Result<ChatFormat> ChatFormat::make(const Tokenizer& tokenizer) {
  ChatFormat format(tokenizer);
  if (tokenizer.bos_id() == kNoToken) return missing("<bos>");
  format.bos_ = tokenizer.bos_id();
  KL_ASSIGN(format.turn_begin_, require(tokenizer, "<|turn>"));
  KL_ASSIGN(format.turn_end_, require(tokenizer, "<turn|>"));
  format.think_ = tokenizer.find_special("<|think|>");
  format.channel_begin_ = tokenizer.find_special(kChannelBegin);
  format.channel_end_ = tokenizer.find_special(kChannelEnd);
  return format;
}

Result<std::vector<int32_t>> ChatFormat::render(std::span<const Message> messages,
                                                const ChatOptions& options) const {
  if (messages.empty()) {
    return Error{ErrorCode::invalid_argument, "chat: 0 messages, expected at least 1"};
  }
  const bool primed = options.add_generation_prompt && !options.thinking && options.empty_thought;
  if (options.thinking && !think_) return missing("<|think|>");
  if (primed && !channel_begin_) return missing(kChannelBegin);
  if (primed && !channel_end_) return missing(kChannelEnd);

  PromptBuilder prompt(*tokenizer_);
  KL_TRY(prompt.add_control(bos_));
  const Message* system = messages[0].role == Role::system ? &messages[0] : nullptr;
  if (options.thinking || system != nullptr) {
    KL_TRY(add_system_turn(prompt, system, options.thinking));
  }
  KL_TRY(add_turns(prompt, messages.subspan(system != nullptr ? 1 : 0)));
  if (options.add_generation_prompt) KL_TRY(add_generation_prompt(prompt, primed));
  return prompt.finish();
}

// The first turn: the switch for thinking, then the system message, if there is one.
Status ChatFormat::add_system_turn(PromptBuilder& prompt, const Message* message,
                                   bool thinking) const {
  KL_TRY(prompt.add_control(turn_begin_));
  prompt.add_text("system\n");
  if (thinking) {
    KL_TRY(prompt.add_control(*think_));
    prompt.add_text("\n");
  }
  if (message != nullptr) prompt.add_text(content_of(*message));
  KL_TRY(prompt.add_control(turn_end_));
  prompt.add_text("\n");
  return {};
}

Status ChatFormat::add_turns(PromptBuilder& prompt, std::span<const Message> messages) const {
  const auto is_model = [&](size_t i) {
    return i < messages.size() && messages[i].role == Role::model;
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool continues = is_model(i) && i > 0 && is_model(i - 1);
    if (!continues) {
      KL_TRY(prompt.add_control(turn_begin_));
      prompt.add_text(name_of(messages[i].role));
      prompt.add_text("\n");
    }
    prompt.add_text(content_of(messages[i]));
    if (is_model(i) && is_model(i + 1)) continue;
    KL_TRY(prompt.add_control(turn_end_));
    prompt.add_text("\n");
  }
  return {};
}

Status ChatFormat::add_generation_prompt(PromptBuilder& prompt, bool primed) const {
  KL_TRY(prompt.add_control(turn_begin_));
  prompt.add_text("model\n");
  if (!primed) return {};
  KL_TRY(prompt.add_control(*channel_begin_));
  prompt.add_text("thought\n");
  return prompt.add_control(*channel_end_);
}

}  // namespace kimberlite::text
