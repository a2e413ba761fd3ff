// Pictures and sounds of the public interface: prompts with their embeddings.
#include <fmt/format.h>

#include "base/mapped_file.hpp"
#include "media/frames.hpp"
#include "media/mel.hpp"
#include "media/patches.hpp"
#include "media/video.hpp"
#include "runtime/api.hpp"

namespace kimberlite {
namespace {

static_assert(media::kMelBins == model::ConformerConfig::kMelBins);
static_assert(media::count_mel_tokens(7) == runtime::SoundEncoder::count_tokens(7));

Status check_projector(const runtime::Engine& engine) {
  if (engine.projector() != nullptr) return {};
  return Error{ErrorCode::unsupported,
               fmt::format("{}: takes no pictures and no sounds: {}", engine.file().path(),
                           engine.no_projector_reason())};
}

/// The largest budget that the projector's file allows.
uint32_t own_budget(const model::VisionConfig& vision) {
  uint32_t own = media::kImageBudgets.front();
  for (const uint32_t budget : media::kImageBudgets) {
    if (budget <= vision.n_tokens) own = budget;
  }
  return own;
}

using Soft = std::shared_ptr<const runtime::SoftTokens>;

Result<Soft> compute(runtime::Engine& engine, const Picture& picture) {
  KL_TRY(check_projector(engine));
  return engine.media().embed_picture(picture.n_x, picture.n_y, picture.patches);
}
Result<Soft> compute(runtime::Engine& engine, const Sound& sound) {
  KL_TRY(check_projector(engine));
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
      } else if (const auto* video = std::get_if<Video>(&part)) {
        KL_TRY(add(*video, out));
      } else {
        KL_TRY(add(std::get<Sound>(part), text::MediaKind::sound, out));
      }
    }
    return out;
  }

 private:
  template <typename Media>
  Status add(const Media& media, text::MediaKind kind, text::Message& out) {
    KL_ASSIGN(Soft soft, compute(engine_, media));
    out.parts.emplace_back(text::MediaSlot{kind, soft->n});
    embedded_.push_back(std::move(soft));
    return {};
  }

  Status add(const Video& video, text::Message& out) {
    text::VideoSlot slot;
    for (const Video::Frame& frame : video.frames) {
      KL_ASSIGN(Soft soft, compute(engine_, frame.picture));
      slot.frames.push_back({media::time_text(frame.seconds), soft->n});
      embedded_.push_back(std::move(soft));
    }
    out.parts.emplace_back(std::move(slot));
    return {};
  }

  runtime::Engine& engine_;  // Borrowed, like the next.
  std::vector<Soft>& embedded_;
};

}  // namespace

MediaKind find_media_kind(const std::string& path) {
  const auto file = MappedFile::open(path);
  if (!file.ok()) return MediaKind::none;
  if (media::find_image_type(file->bytes(), path).ok()) return MediaKind::picture;
  if (media::is_video(file->bytes())) return MediaKind::video;
  return media::find_audio_type(file->bytes(), path).ok() ? MediaKind::sound : MediaKind::none;
}

Result<Picture> read_picture(const Model& model, const std::string& path, uint32_t budget) {
  const runtime::Engine& engine = Access::engine(model);
  KL_TRY(check_projector(engine));
  const MediaSupport support = media_support(model);
  media::PatchOptions options;
  options.budget = budget == kOwnBudget ? support.picture_tokens : budget;
  if (budget == kAutoBudget) {
    options.budget = media::kAutoImageBudget;
    options.auto_at_most = media::kImageBudgets.back();
  }
  KL_ASSIGN(media::Patches patches, media::read_patches_file(path, options));
  return Picture{patches.n_x, patches.n_y, std::move(patches.values)};
}

Result<std::vector<Sound>> read_sound(const Model& model, const std::string& path) {
  const runtime::Engine& engine = Access::engine(model);
  KL_TRY(check_projector(engine));
  KL_ASSIGN(const media::Audio audio, media::read_audio_file(path));
  const auto& config = engine.projector()->config().audio;
  const bool is_mel = config && config->conformer;
  if (is_mel && audio.samples.size() < media::kMinMelSamples) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: a sound of {} samples, this model needs {} at least", path,
                             audio.samples.size(), media::kMinMelSamples)};
  }
  std::vector<Sound> pieces;
  for (const std::span<const float> piece : media::split_audio(audio.samples)) {
    pieces.push_back({is_mel ? media::make_mel(piece).values : media::make_frames(piece).values});
  }
  return pieces;
}

Result<Video> read_video(const Model& model, const std::string& path, const Progress& progress) {
  KL_TRY(check_projector(Access::engine(model)));
  const auto on_frame = [&](size_t n, size_t of) {
    if (progress) progress(path, static_cast<double>(n) / static_cast<double>(of));
  };
  KL_ASSIGN(media::Video read,
            media::read_video_file(path, {.budget = media::kFrameBudget}, on_frame));
  Video video;
  for (media::VideoFrame& frame : read.frames) {
    media::Patches& patches = frame.patches;
    video.frames.push_back(
        {frame.seconds, Picture{patches.n_x, patches.n_y, std::move(patches.values)}});
  }
  return video;
}

MediaPrompt Access::make_prompt(runtime::Prompt prompt) {
  return MediaPrompt(std::make_unique<MediaPrompt::State>(std::move(prompt)));
}

MediaPrompt::MediaPrompt(std::unique_ptr<State> state) : state_(std::move(state)) {}
MediaPrompt::MediaPrompt(std::vector<int32_t> tokens)
    : state_(std::make_unique<State>(runtime::Prompt{std::move(tokens), {}})) {}
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
  if (support.pictures) support.picture_tokens = own_budget(*engine.projector()->config().vision);
  support.max_picture_tokens = engine.max_picture_tokens();
  support.mmproj = engine.projector()->path();
  return support;
}

Result<std::vector<float>> embed(const Model& model, const Picture& picture) {
  KL_ASSIGN(const Soft soft, compute(Access::engine(model), picture));
  return soft->rows;
}
Result<std::vector<float>> embed(const Model& model, const Sound& sound) {
  KL_ASSIGN(const Soft soft, compute(Access::engine(model), sound));
  return soft->rows;
}

Result<std::vector<float>> embed(const Model& model, const Video& video) {
  std::vector<float> rows;
  for (const Video::Frame& frame : video.frames) {
    KL_ASSIGN(const Soft soft, compute(Access::engine(model), frame.picture));
    rows.insert(rows.end(), soft->rows.begin(), soft->rows.end());
  }
  return rows;
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
