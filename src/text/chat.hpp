// The Gemma 4 chat format: messages in, prompt token ids out.
//
//   <bos> <|turn> user\n text <turn|> \n ... <|turn> model\n [<|channel> thought\n <channel|>]
//
// Turns and channels are control tokens, looked up by piece when a model loads. What a message says
// is encoded as plain text, so a message that spells "<turn|>" is seven ordinary characters and
// ends nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "text/prompt_builder.hpp"
#include "text/tokenizer.hpp"

namespace kimberlite::text {

enum class Role { system, user, model };

enum class MediaKind : uint8_t { picture, sound };

/// A picture or sound in a message: so many placeholders between the control tokens of its kind.
struct MediaSlot {
  MediaKind kind;
  uint32_t n_tokens;
};

/// A video in a message: the time of each frame, then the frame as a picture.
struct VideoSlot {
  struct Frame {
    std::string time;  // "mm:ss"
    uint32_t n_tokens;
  };
  std::vector<Frame> frames;
};

struct Message {
  Role role;
  std::string text;
  /// Instead of `text` where there are any: texts and media in their order.
  std::vector<std::variant<std::string, MediaSlot, VideoSlot>> parts{};
};

/// A prompt, and where each picture, sound and frame begins: the position of its first placeholder.
struct RenderedChat {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> media;
};

struct ChatOptions {
  /// End with an open model turn, so that the model answers next.
  bool add_generation_prompt = true;
  /// Ask the model to think before it answers.
  bool thinking = false;
  /// With thinking off, open the model turn with an empty thought. 12B, 26B-A4B and 31B were
  /// trained with it; E2B and E4B without.
  bool empty_thought = true;
};

/// Immutable; every const function may be called from any thread.
class ChatFormat {
 public:
  /// Keeps a pointer to `tokenizer`. Errors: unsupported, naming the piece that is missing.
  static Result<ChatFormat> make(const Tokenizer& tokenizer);

  /// The prompt for `messages`, oldest first: what Google's template renders, tokenized. A system
  /// message leads the conversation; thoughts in earlier model messages are left out; model
  /// messages in a row are one turn. Errors: invalid_argument for no messages, unsupported where
  /// an option needs a piece that the vocabulary lacks.
  Result<std::vector<int32_t>> render(std::span<const Message> messages,
                                      const ChatOptions& options) const;
  /// The same of messages with media. Errors: unsupported too where the vocabulary lacks a piece of
  /// a kind that is among them.
  Result<RenderedChat> render_media(std::span<const Message> messages,
                                    const ChatOptions& options) const;

 private:
  /// Control tokens around and in the place of one kind of media.
  struct MediaTokens {
    int32_t begin = kNoToken;
    int32_t placeholder = kNoToken;
    int32_t end = kNoToken;
  };
  static Status add_placeholders(PromptBuilder& prompt, const Result<MediaTokens>& tokens,
                                 uint32_t n, std::vector<uint32_t>& media);
  explicit ChatFormat(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  Status add_system_turn(PromptBuilder& prompt, const Message* message, bool thinking,
                         std::vector<uint32_t>& media) const;
  Status add_turns(PromptBuilder& prompt, std::span<const Message> messages,
                   std::vector<uint32_t>& media) const;
  Status add_content(PromptBuilder& prompt, const Message& message,
                     std::vector<uint32_t>& media) const;
  /// What stands for a part of a message goes to `media`, in order.
  Status add_part(PromptBuilder& prompt, const MediaSlot& slot, std::vector<uint32_t>& media) const;
  Status add_part(PromptBuilder& prompt, const VideoSlot& video,
                  std::vector<uint32_t>& media) const;
  Status add_generation_prompt(PromptBuilder& prompt, bool primed) const;

  const Tokenizer* tokenizer_;  // Borrowed from the model.
  int32_t bos_ = kNoToken;
  int32_t turn_begin_ = kNoToken;
  int32_t turn_end_ = kNoToken;
  // Not in every vocabulary, and needed only by some options.
  std::optional<int32_t> think_;
  std::optional<int32_t> channel_begin_;
  std::optional<int32_t> channel_end_;
  // An error says which piece is missing.
  Result<MediaTokens> picture_ = MediaTokens{};
  Result<MediaTokens> sound_ = MediaTokens{};
  Result<MediaTokens> frame_ = MediaTokens{};
};

/// A model's text without its thoughts: everything from <|channel> to <channel|> goes, then white
/// space at both ends.
[[nodiscard]] std::string strip_thoughts(std::string_view text);

}  // namespace kimberlite::text
