// Renders conversations the way Google's template does, as tokens instead of text.
#include "text/chat.hpp"

#include "text/utf8.hpp"

namespace kimberlite::text {
namespace {

constexpr std::string_view kChannelBegin = "<|channel>";
constexpr std::string_view kChannelEnd = "<channel|>";

struct MediaPieces {
  std::string_view begin;
  std::string_view placeholder;
  std::string_view end;
};
constexpr MediaPieces kPicture{"<|image>", "<|image|>", "<image|>"};
constexpr MediaPieces kSound{"<|audio>", "<|audio|>", "<audio|>"};
constexpr MediaPieces kFrame{"<|image>", "<|video|>", "<image|>"};

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

std::string content_of(Role role, std::string_view text) {
  return role == Role::model ? strip_thoughts(text) : std::string(trim(text));
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
  const auto find_media = [&](const MediaPieces& pieces) -> Result<MediaTokens> {
    MediaTokens tokens;
    KL_ASSIGN(tokens.begin, require(tokenizer, pieces.begin));
    KL_ASSIGN(tokens.placeholder, require(tokenizer, pieces.placeholder));
    KL_ASSIGN(tokens.end, require(tokenizer, pieces.end));
    return tokens;
  };
  format.picture_ = find_media(kPicture);
  format.sound_ = find_media(kSound);
  format.frame_ = find_media(kFrame);
  return format;
}

Result<std::vector<int32_t>> ChatFormat::render(std::span<const Message> messages,
                                                const ChatOptions& options) const {
  KL_ASSIGN(RenderedChat rendered, render_media(messages, options));
  return std::move(rendered.tokens);
}

Result<RenderedChat> ChatFormat::render_media(std::span<const Message> messages,
                                              const ChatOptions& options) const {
  if (messages.empty()) {
    return Error{ErrorCode::invalid_argument, "chat: 0 messages, expected at least 1"};
  }
  const bool primed = options.add_generation_prompt && !options.thinking && options.empty_thought;
  if (options.thinking && !think_) return missing("<|think|>");
  if (primed && !channel_begin_) return missing(kChannelBegin);
  if (primed && !channel_end_) return missing(kChannelEnd);

  PromptBuilder prompt(*tokenizer_);
  RenderedChat rendered;
  KL_TRY(prompt.add_control(bos_));
  const Message* system = messages[0].role == Role::system ? &messages[0] : nullptr;
  if (options.thinking || system != nullptr) {
    KL_TRY(add_system_turn(prompt, system, options.thinking, rendered.media));
  }
  KL_TRY(add_turns(prompt, messages.subspan(system != nullptr ? 1 : 0), rendered.media));
  if (options.add_generation_prompt) KL_TRY(add_generation_prompt(prompt, primed));
  KL_ASSIGN(rendered.tokens, prompt.finish());
  return rendered;
}

// The first turn: the switch for thinking, then the system message, if there is one.
Status ChatFormat::add_system_turn(PromptBuilder& prompt, const Message* message, bool thinking,
                                   std::vector<uint32_t>& media) const {
  KL_TRY(prompt.add_control(turn_begin_));
  prompt.add_text("system\n");
  if (thinking) {
    KL_TRY(prompt.add_control(*think_));
    prompt.add_text("\n");
  }
  if (message != nullptr) KL_TRY(add_content(prompt, *message, media));
  KL_TRY(prompt.add_control(turn_end_));
  prompt.add_text("\n");
  return {};
}

Status ChatFormat::add_content(PromptBuilder& prompt, const Message& message,
                               std::vector<uint32_t>& media) const {
  if (message.parts.empty()) prompt.add_text(content_of(message.role, message.text));
  for (const auto& part : message.parts) {
    if (const auto* text = std::get_if<std::string>(&part)) {
      prompt.add_text(content_of(message.role, *text));
    } else if (const auto* video = std::get_if<VideoSlot>(&part)) {
      KL_TRY(add_part(prompt, *video, media));
    } else {
      KL_TRY(add_part(prompt, std::get<MediaSlot>(part), media));
    }
  }
  return {};
}

Status ChatFormat::add_placeholders(PromptBuilder& prompt, const Result<MediaTokens>& tokens,
                                    uint32_t n, std::vector<uint32_t>& media) {
  if (!tokens.ok()) return tokens.error();
  KL_TRY(prompt.add_control(tokens->begin));
  media.push_back(prompt.n_tokens());
  for (uint32_t i = 0; i < n; ++i) KL_TRY(prompt.add_control(tokens->placeholder));
  return prompt.add_control(tokens->end);
}

Status ChatFormat::add_part(PromptBuilder& prompt, const MediaSlot& slot,
                            std::vector<uint32_t>& media) const {
  const bool is_picture = slot.kind == MediaKind::picture;
  return add_placeholders(prompt, is_picture ? picture_ : sound_, slot.n_tokens, media);
}

Status ChatFormat::add_part(PromptBuilder& prompt, const VideoSlot& video,
                            std::vector<uint32_t>& media) const {
  for (size_t i = 0; i < video.frames.size(); ++i) {
    if (i > 0) prompt.add_text(" ");
    prompt.add_text(video.frames[i].time);
    prompt.add_text(" ");
    KL_TRY(add_placeholders(prompt, frame_, video.frames[i].n_tokens, media));
  }
  return {};
}

Status ChatFormat::add_turns(PromptBuilder& prompt, std::span<const Message> messages,
                             std::vector<uint32_t>& media) const {
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
    KL_TRY(add_content(prompt, messages[i], media));
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
