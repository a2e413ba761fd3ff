// The public classes over the runtime: Model is an Engine, Session a runtime::Session.
#include "runtime/api.hpp"

#include <fmt/format.h>

#include "base/size_text.hpp"
#include "kimberlite/kimberlite.hpp"
#include "text/stream_decoder.hpp"

namespace kimberlite {
namespace {

std::optional<kernels::KvType> kv_type(std::optional<KvCacheType> type) {
  if (!type) return std::nullopt;
  switch (*type) {
    case KvCacheType::f32:
      return kernels::KvType::f32;
    case KvCacheType::f16:
      return kernels::KvType::f16;
    case KvCacheType::q8_0:
      return kernels::KvType::q8_0;
  }
  return std::nullopt;
}

Error no_vocabulary(const runtime::Engine& engine) {
  return {ErrorCode::unsupported,
          fmt::format("{}: the file has no vocabulary (tokenizer.ggml.model); use token ids",
                      engine.file().path())};
}

}  // namespace

text::Role text_role(Role role) {
  switch (role) {
    case Role::system:
      return text::Role::system;
    case Role::user:
      return text::Role::user;
    case Role::model:
      return text::Role::model;
  }
  return text::Role::user;
}

Result<const text::ChatFormat*> find_chat(const runtime::Engine& engine) {
  if (engine.tokenizer() == nullptr) return no_vocabulary(engine);
  if (engine.chat() != nullptr) return engine.chat();
  return Error{ErrorCode::unsupported,
               fmt::format("{}: the vocabulary has no turn tokens (<|turn>, <turn|>)",
                           engine.file().path())};
}

runtime::GenerateRequest to_request(const GenerateOptions& options,
                                    const text::Tokenizer* tokenizer) {
  const SamplingOptions& s = options.sampling;
  runtime::GenerateRequest request;
  request.sampling = {.temperature = s.temperature,
                      .top_k = s.top_k,
                      .top_p = s.top_p,
                      .min_p = s.min_p,
                      .repeat_penalty = s.repeat_penalty,
                      .presence_penalty = s.presence_penalty,
                      .frequency_penalty = s.frequency_penalty,
                      .seed = s.seed};
  request.max_tokens = options.max_tokens;
  request.stop_ids = options.stop_ids;
  request.max_drafts = options.max_drafts;
  request.n_drafts = options.n_drafts;
  request.mask = options.mask;
  if (!options.ignore_end && tokenizer != nullptr) {
    request.stop_ids.insert(request.stop_ids.end(), tokenizer->end_ids().begin(),
                            tokenizer->end_ids().end());
  }
  return request;
}

Result<std::unique_ptr<Model>> Model::open(const std::string& path, const ModelOptions& options) {
  runtime::EngineOptions engine;
  engine.device = options.device;
  engine.validation = options.validation;
  engine.precise = options.precise;
  engine.n_gpu_layers = options.gpu_layers;
  engine.draft = options.draft;
  engine.draft_model = options.draft_model;
  engine.media = options.media;
  engine.projector = options.mmproj;
  engine.cache_dir = options.cache_dir;
  engine.autotune = options.autotune;
  engine.progress = options.progress;
  auto state = std::make_unique<State>();
  KL_ASSIGN(state->engine, runtime::Engine::open(path, engine));
  return std::unique_ptr<Model>(new Model(std::move(state)));
}

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

Result<std::unique_ptr<Session>> Model::new_session(const SessionOptions& options) {
  auto state = std::make_unique<Session::State>();
  KL_ASSIGN(state->session, runtime::Session::make(*state_->engine, options.context,
                                                   kv_type(options.kv_type), options.progress));
  return std::unique_ptr<Session>(new Session(std::move(state)));
}

Result<std::vector<int32_t>> Model::encode(std::string_view text, bool add_bos,
                                           bool parse_special) const {
  const text::Tokenizer* tokenizer = state_->engine->tokenizer();
  if (tokenizer == nullptr) return no_vocabulary(*state_->engine);
  return tokenizer->encode(text, {.parse_special = parse_special, .add_bos = add_bos});
}

Result<std::vector<int32_t>> Model::encode_chat(const std::vector<ChatMessage>& messages) const {
  KL_ASSIGN(const text::ChatFormat* chat, find_chat(*state_->engine));
  std::vector<text::Message> turns;
  for (const ChatMessage& message : messages) {
    turns.push_back({text_role(message.role), message.text});
  }
  return chat->render(turns, {});
}

std::string Model::decode(std::span<const int32_t> tokens) const {
  std::string bytes;
  const text::Tokenizer* tokenizer = state_->engine->tokenizer();
  if (tokenizer == nullptr) return bytes;
  for (const int32_t token : tokens) bytes += tokenizer->decode(token);
  return bytes;
}

uint32_t Model::n_vocab() const { return state_->engine->config().n_vocab; }
uint32_t Model::max_context() const { return state_->engine->config().max_context; }

std::string Model::description() const {
  const runtime::Engine& engine = *state_->engine;
  return fmt::format("{}, {} layers, {}, on {}", engine.config().name, engine.config().n_layers,
                     size_text(engine.weights().n_bytes()), engine.device().snapshot().name);
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;

Result<SyncResult> Session::sync(std::span<const int32_t> tokens, const Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  std::function<void(double)> report;
  if (progress) report = [&](double fraction) { progress("reading the prompt", fraction); };
  KL_ASSIGN(const runtime::SyncCounts counts, state_->session->sync(tokens, report));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return SyncResult{counts.reused, counts.recomputed, elapsed.count()};
}

Result<GenerateResult> Session::generate(const GenerateOptions& options,
                                         const std::function<bool(const TokenEvent&)>& on_token) {
  const text::Tokenizer* tokenizer = state_->session->engine().tokenizer();
  std::optional<text::StreamDecoder> decoder;
  if (tokenizer != nullptr) decoder.emplace(*tokenizer);
  const auto forward = [&](int32_t token) {
    const std::string text = decoder ? decoder->push(token) : std::string();
    return !on_token || on_token({token, text});
  };
  KL_ASSIGN(runtime::Generated generated,
            state_->session->generate(to_request(options, tokenizer), forward));
  const std::string rest = decoder ? decoder->flush() : std::string();
  if (!rest.empty() && on_token) on_token({generated.tokens.back(), rest});
  return GenerateResult{generated.reason, std::move(generated.tokens), generated.seconds,
                        generated.first_token_seconds};
}

DraftStatistics Session::drafting() const {
  const runtime::Session& session = *state_->session;
  const runtime::Engine& engine = session.engine();
  const runtime::DraftPolicy& drafting = session.drafting();
  DraftStatistics out;
  if (engine.drafter() != nullptr) out.drafter = engine.drafter()->path();
  out.reason = engine.no_drafter_reason();
  out.n_drafts = drafting.settled();
  out.n_rounds = drafting.n_rounds();
  out.n_emitted = drafting.n_emitted();
  out.n_drafted = drafting.n_drafted();
  out.n_accepted = drafting.n_accepted();
  for (uint32_t i = 0; i < kMaxDrafts && drafting.n_checked_at(i) > 0; ++i) {
    out.acceptance.push_back(static_cast<double>(drafting.n_accepted_at(i)) /
                             static_cast<double>(drafting.n_checked_at(i)));
  }
  return out;
}

void Session::cancel() { state_->session->cancel(); }
const std::vector<int32_t>& Session::tokens() const { return state_->session->tokens(); }
uint32_t Session::context() const { return state_->session->context(); }

}  // namespace kimberlite
