// Pictures and sounds of the public interface: prompts with their embeddings.
#include <fmt/format.h>

#include "runtime/api.hpp"

namespace kimberlite {
namespace {

using Soft = std::shared_ptr<const runtime::SoftTokens>;

Result<Soft> embed(runtime::Engine& engine, const Picture& picture) {
  return engine.media().embed_picture(picture.n_x, picture.n_y, picture.patches);
}
Result<Soft> embed(runtime::Engine& engine, const Sound& sound) {
  return engine.media().embed_sound(sound.frames);
}

/// One message for the chat format; `embedded` gets what its media are.
class MessageMaker {
 public:
  MessageMaker(runtime::Engine& engine, std::vector<Soft>& embedded)
      : engine_(engine), embedded_(embedded) {}

  Result<text::Message> make(const MediaMessage& message) {
    text::Message out{text_role(message.role), {}, {}};
    for (const Part& part : message.parts) {
      if (const auto* text = std::get_if<std::string>(&part)) {
        out.parts.emplace_back(*text);
      } else if (const auto* picture = std::get_if<Picture>(&part)) {
        KL_TRY(add(*picture, text::MediaKind::picture, out));
      } else {
        KL_TRY(add(std::get<Sound>(part), text::MediaKind::sound, out));
      }
    }
    return out;
  }

 private:
  template <typename Media>
  Status add(const Media& media, text::MediaKind kind, text::Message& out) {
    if (engine_.projector() == nullptr) {
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: no pictures and no sounds: {}", engine_.file().path(),
                               engine_.no_projector_reason())};
    }
    KL_ASSIGN(Soft soft, embed(engine_, media));
    out.parts.emplace_back(text::MediaSlot{kind, soft->n});
    embedded_.push_back(std::move(soft));
    return {};
  }

  runtime::Engine& engine_;  // Borrowed, like the next.
  std::vector<Soft>& embedded_;
};

}  // namespace

MediaPrompt Access::make_prompt(runtime::Prompt prompt) {
  return MediaPrompt(std::make_unique<MediaPrompt::State>(std::move(prompt)));
}

MediaPrompt::MediaPrompt(std::unique_ptr<State> state) : state_(std::move(state)) {}
MediaPrompt::~MediaPrompt() = default;
MediaPrompt::MediaPrompt(const MediaPrompt& other)
    : state_(std::make_unique<State>(*other.state_)) {}
MediaPrompt& MediaPrompt::operator=(const MediaPrompt& other) {
  *state_ = *other.state_;
  return *this;
}

const std::vector<int32_t>& MediaPrompt::tokens() const { return state_->prompt.tokens; }
void MediaPrompt::append(std::span<const int32_t> tokens) {
  std::vector<int32_t>& all = state_->prompt.tokens;
  all.insert(all.end(), tokens.begin(), tokens.end());
}

MediaSupport media_support(const Model& model) {
  const runtime::Engine& engine = Access::engine(model);
  MediaSupport support;
  support.reason = engine.no_projector_reason();
  if (engine.projector() == nullptr) return support;
  support.pictures = engine.projector()->config().vision.has_value();
  support.sounds = engine.projector()->config().audio.has_value();
  support.max_picture_tokens = engine.max_picture_tokens();
  support.mmproj = engine.projector()->path();
  return support;
}

Result<MediaPrompt> encode_media_chat(const Model& model,
                                      const std::vector<MediaMessage>& messages) {
  runtime::Engine& engine = Access::engine(model);
  KL_ASSIGN(const text::ChatFormat* chat, find_chat(engine));
  std::vector<Soft> embedded;
  std::vector<text::Message> turns;
  MessageMaker maker(engine, embedded);
  for (const MediaMessage& message : messages) {
    KL_ASSIGN(text::Message turn, maker.make(message));
    turns.push_back(std::move(turn));
  }
  KL_ASSIGN(text::RenderedChat rendered, chat->render_media(turns, {}));
  runtime::Prompt prompt{std::move(rendered.tokens), {}};
  for (size_t i = 0; i < embedded.size(); ++i) {
    prompt.runs.push_back({rendered.media[i], std::move(embedded[i])});
  }
  return Access::make_prompt(std::move(prompt));
}

Result<SyncResult> sync(Session& session, const MediaPrompt& prompt, const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  std::function<void(double)> report;
  if (progress) report = [&](double fraction) { progress("reading the prompt", fraction); };
  KL_ASSIGN(const runtime::SyncCounts counts,
            Access::session(session).sync_prompt(Access::prompt(prompt), report));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return SyncResult{counts.reused, counts.recomputed, elapsed.count()};
}

}  // namespace kimberlite
