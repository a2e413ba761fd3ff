#include "runtime/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "base/numeric.hpp"
#include "runtime/tuner.hpp"

namespace kimberlite::runtime {
namespace {

constexpr uint32_t kFirstPrefillRows = 32;  // before anything is known of the device's speed

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr std::array kRound{PassEnd::draft, PassEnd::verify, PassEnd::accept};
constexpr std::array kStep{PassEnd::step};

std::span<const PassEnd> round_parts(uint32_t n_drafts) {
  return n_drafts == 0 ? std::span<const PassEnd>(kStep) : kRound;
}

StopReason stop_reason(uint32_t done, int32_t token, const text::Tokenizer* tokenizer) {
  if (done == shaders::kDoneTokenLimit) return StopReason::max_tokens;
  if (done == shaders::kDoneContextLimit) return StopReason::context_full;
  const bool is_end = tokenizer != nullptr && tokenizer->is_end(token);
  return is_end ? StopReason::end_token : StopReason::stop_id;
}

}  // namespace

Session::Session(Engine& engine, KvCache cache, Sequence sequence, uint64_t snapshot_bytes)
    : engine_(&engine),
      cache_(std::move(cache)),
      sequence_(std::move(sequence)),
      passes_(engine, cache_, sequence_),
      snapshots_(engine.device(), cache_, snapshot_bytes),
      drafting_(engine.drafter() != nullptr ? kMaxDrafts : 0),
      row_limit_(engine.device().caps().is_cpu ? kMaxPrefillRows : kFirstPrefillRows) {}

Result<std::unique_ptr<Session>> Session::make(Engine& engine, uint32_t context,
                                               std::optional<kernels::KvType> kv_type,
                                               const Progress& progress) {
  const kernels::KvType type =
      kv_type.value_or(engine.precise() ? kernels::KvType::f32 : kernels::KvType::f16);
  KL_TRY(engine.check_kernels(type, progress));
  KL_ASSIGN(const SessionPlan plan, engine.plan_session(type, context));
  KL_ASSIGN(KvCache cache,
            KvCache::make(engine.device(), engine.config(),
                          {plan.context, type, engine.kv_segment_rows(), engine.pass_rows()}));
  KL_ASSIGN(Sequence sequence, Sequence::make(engine));
  std::unique_ptr<Session> session(
      new Session(engine, std::move(cache), std::move(sequence), plan.snapshot_bytes));
  KL_TRY(session->prepare(progress));
  return session;
}

/// Pipelines of steps, rounds and every prefill size, on several threads.
Status Session::prepare(const Progress& progress) {
  if (engine_->projector() != nullptr) KL_TRY(sequence_.add_media());
  if (engine_->autotunes()) {
    KL_TRY(tune_passes(*engine_, passes_, cache_, sequence_, [&](double fraction) {
      if (progress) progress("timing kernels", fraction);
    }));
  }
  std::vector<PassKey> keys{{PassEnd::step, 1}};
  if (engine_->drafter() != nullptr) {
    for (uint32_t n = 2; n <= kMaxDrafts + 1; ++n) {
      for (const PassEnd end : kRound) keys.push_back({end, n});
    }
  }
  for (uint32_t rows = kMinPrefillRows; rows <= kMaxPrefillRows; rows *= 2) {
    keys.push_back({PassEnd::cache, rows});
    keys.back().soft = rows == kMinPrefillRows && engine_->projector() != nullptr;
  }
  return passes_.prepare(keys, [&](size_t done, size_t total) {
    if (!progress) return;
    progress("preparing kernels", static_cast<double>(done) / static_cast<double>(total));
  });
}

Status Session::check_tokens(std::span<const int32_t> tokens) const {
  if (tokens.empty()) {
    return Error{ErrorCode::invalid_argument, "a session needs at least one token, got none"};
  }
  if (tokens.size() > context()) {
    return Error{
        ErrorCode::context_full,
        fmt::format("the prompt has {} tokens, the context holds {}", tokens.size(), context())};
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= engine_->config().n_vocab) {
      return Error{ErrorCode::invalid_argument,
                   fmt::format("token {} is {}, the vocabulary has {} entries", i, tokens[i],
                               engine_->config().n_vocab)};
    }
  }
  return {};
}

/// Cuts the session back to the longest prefix that it shares with the prompt and that the cache
/// can still serve, by itself or from a snapshot, and never includes the last token. Returns its
/// length.
Result<uint32_t> Session::keep_prefix(const Prompt& prompt) {
  const auto limit = static_cast<uint32_t>(std::min<size_t>(n_cached_, prompt.tokens.size() - 1));
  const uint32_t common = common_items(now_, prompt, limit);
  snapshots_.forget_after(common);
  n_cached_ = cache_.rewind(common, n_written_);
  if (n_cached_ < common) {
    const uint32_t saved = snapshots_.find(common);
    if (saved > 0) {
      KL_ASSIGN(n_written_, snapshots_.restore(saved));
    }
    n_cached_ = saved;
  }
  if (n_cached_ == 0) n_written_ = 0;
  now_.tokens.assign(prompt.tokens.begin(), prompt.tokens.begin() + n_cached_);
  now_.runs = runs_before(prompt.runs, n_cached_);
  return n_cached_;
}

/// Before a prefill, at the end of the last turn or where the history was edited, and after it,
/// where the model's thought or answer begins: the places that the next prompt is likely to share.
/// Never while tokens are generated: the end of an answer is in the rings until the next prefill.
Status Session::save_snapshot() {
  if (n_cached_ == 0 || cache_.rewind(n_cached_, n_written_) < n_cached_) return {};
  return snapshots_.save(n_cached_);
}

Status Session::run(const graph::Executable& executable, uint32_t n_submissions) {
  const std::span<const VkCommandBuffer> parts = executable.parts();
  const size_t n_at_once = div_up<size_t>(parts.size(), n_submissions);
  uint64_t value = 0;
  for (size_t first = 0; first < parts.size(); first += n_at_once) {
    const size_t n = std::min(n_at_once, parts.size() - first);
    KL_ASSIGN(value, engine_->device().submit(parts.subspan(first, n)));
  }
  return engine_->device().wait(value);
}

Status Session::run_prefill(const Prompt& prompt, const PrefillStep& step) {
  PassKey key{PassEnd::cache, step.n_rows};
  key.soft = step.has_soft;
  KL_ASSIGN(const graph::Executable* pass, passes_.get(key));
  if (step.has_soft) {
    sequence_.write_columns(prompt, n_cached_, step.n_used, step.n_rows);
  } else {
    const auto part = std::span(prompt.tokens).subspan(n_cached_, step.n_used);
    sequence_.write_columns(part, n_cached_, step.n_rows);
  }
  // More rows than the limit are a picture's, which is never split: its pass is cut instead.
  return run(*pass, div_up(step.n_rows, row_limit_));
}

Status Session::prefill(const Prompt& prompt, const std::function<void(double)>& progress) {
  const auto n_end = static_cast<uint32_t>(prompt.tokens.size() - 1);
  const uint32_t n_begin = n_cached_;
  const double bound = submission_bound_seconds(engine_->device().caps());
  const bool is_cpu = engine_->device().caps().is_cpu;
  while (n_cached_ < n_end) {
    if (cancelled_) return Error{ErrorCode::cancelled, "prefill was cancelled"};
    const PrefillStep step =
        pick_prefill_step(prompt.runs, n_cached_, n_end, row_limit_, /*pads=*/!is_cpu);
    const auto start = Clock::now();
    KL_TRY(run_prefill(prompt, step));
    // A short last pass says nothing about how large a pass may be.
    if (step.n_rows >= row_limit_ / 2) {
      row_limit_ = next_row_limit(step.n_rows, seconds_since(start), bound);
    }
    const auto done = prompt.tokens.begin() + n_cached_;
    now_.tokens.insert(now_.tokens.end(), done, done + step.n_used);
    n_cached_ += step.n_used;
    now_.runs = runs_before(prompt.runs, n_cached_);
    n_written_ = std::max(n_written_, n_cached_);
    if (progress) progress(static_cast<double>(n_cached_ - n_begin) / (n_end - n_begin));
  }
  return {};
}

Result<SyncCounts> Session::sync(std::span<const int32_t> tokens,
                                 const std::function<void(double)>& progress) {
  return sync_prompt(Prompt{{tokens.begin(), tokens.end()}, {}}, progress);
}

Result<SyncCounts> Session::sync_prompt(const Prompt& prompt,
                                        const std::function<void(double)>& progress) {
  if (&prompt == &now_)
    return sync_prompt(Prompt(prompt), progress);  // what it is compared with changes
  cancelled_ = false;
  KL_TRY(check_tokens(prompt.tokens));
  KL_TRY(check_runs(prompt, engine_->config().width, engine_->max_picture_tokens()));
  const auto n_tokens = static_cast<uint32_t>(prompt.tokens.size());
  KL_TRY(cache_.commit(n_tokens));
  SyncCounts counts;
  KL_ASSIGN(counts.reused, keep_prefix(prompt));
  counts.recomputed = n_tokens - 1 - counts.reused;
  if (counts.recomputed > 0) {
    KL_TRY(save_snapshot());
    KL_TRY(prefill(prompt, progress));
    KL_TRY(save_snapshot());
  }
  now_ = prompt;
  return counts;
}

Status Session::check_pending(const char* who) const {
  if (now_.tokens.empty()) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("{} needs a synced prompt, got none", who)};
  }
  if (n_cached_ + 1 == now_.tokens.size()) return {};
  return Error{ErrorCode::invalid_argument,
               fmt::format("{} needs a finished sync: {} of {} positions are computed", who,
                           n_cached_, now_.tokens.size() - 1)};
}

Result<std::vector<float>> Session::pending_logits() {
  KL_TRY(check_pending("pending_logits"));
  KL_ASSIGN(const graph::Executable* pass, passes_.get({PassEnd::logits, 1}));
  sequence_.write_columns(std::span(now_.tokens).last(1), n_cached_, 1);
  KL_TRY(run(*pass));
  n_written_ = std::max(n_written_, n_cached_ + 1);
  std::vector<float> logits;
  KL_TRY(sequence_.read_logits(1, logits));
  return logits;
}

Status Session::begin_generation(const GenerateRequest& request) {
  KL_TRY(kernels::check_sampling(request.sampling));
  KL_TRY(check_pending("generate"));
  if (now_.tokens.size() >= context()) {
    return Error{ErrorCode::context_full,
                 fmt::format("no room for another token: {} tokens, the context holds {}",
                             now_.tokens.size(), context())};
  }
  if (const uint32_t most = std::max(request.max_drafts, request.n_drafts.value_or(0));
      most > kMaxDrafts) {
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("{} drafts a round were asked for, at most {} are possible", most, kMaxDrafts)};
  }
  if (request.stop_ids.size() > shaders::kMaxStopIds) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("{} stop ids were given, at most {} are possible",
                             request.stop_ids.size(), shaders::kMaxStopIds)};
  }
  // Without a limit the cache grows as it goes. The last token is never computed.
  const uint64_t n_computed = now_.tokens.size() + std::max<uint64_t>(request.max_tokens, 1) - 1;
  KL_TRY(cache_.commit(static_cast<uint32_t>(std::min<uint64_t>(n_computed, context()))));
  shaders::SequenceState state{};
  kernels::set_sampling(state, request.sampling);
  state.position = static_cast<uint32_t>(now_.tokens.size());
  state.token_limit = request.max_tokens == 0 ? UINT32_MAX : request.max_tokens;
  state.context_limit = context();
  state.n_stop = static_cast<uint32_t>(request.stop_ids.size());
  for (size_t i = 0; i < request.stop_ids.size(); ++i) {
    state.stop[i] = static_cast<uint32_t>(request.stop_ids[i]);
  }
  const kernels::SamplingSettings& sampling = request.sampling;
  if (sampling.repeat_penalty != 1.0f || sampling.presence_penalty != 0.0f ||
      sampling.frequency_penalty != 0.0f) {
    KL_TRY(sequence_.write_counts(now_.tokens));
  }
  if (engine_->drafter() != nullptr) drafting_.limit(request.max_drafts, request.n_drafts);
  if (request.mask) KL_TRY(sequence_.make_masks());
  return sequence_.start(state, {static_cast<uint32_t>(now_.tokens.back()), n_cached_, 0, 1});
}

Result<const graph::Executable*> Session::round_part(PassEnd end, uint32_t n_drafts,
                                                     const GenerateRequest& request) {
  const bool samples = end == PassEnd::step || end == PassEnd::accept;
  return passes_.get({.end = end,
                      .n_columns = n_drafts + 1,
                      .profiled = false,
                      .agree = end == PassEnd::accept ? request.agree : 0,
                      .masked = samples && request.mask != nullptr});
}

/// Records every round that the generation may replay: once, behind the first token, which does not
/// wait for it.
Status Session::record_rounds(const GenerateRequest& request) {
  if (engine_->drafter() == nullptr) return {};
  const uint32_t first = request.n_drafts.value_or(1);
  const uint32_t last = request.n_drafts.value_or(request.max_drafts);
  for (uint32_t n_drafts = std::max(first, 1u); n_drafts <= last; ++n_drafts) {
    for (const PassEnd end : kRound) KL_TRY(round_part(end, n_drafts, request));
  }
  return {};
}

/// What may be drawn at the pending token and behind each draft, until a draft may not come: what
/// is drawn behind that one is of no use.
void Session::write_masks(uint32_t n_drafts, const TokenMask& mask) {
  const size_t n_tokens = now_.tokens.size();
  for (uint32_t column = 0;; ++column) {
    const std::span<uint32_t> allowed = sequence_.mask(column);
    std::ranges::fill(allowed, 0);
    mask(now_.tokens, allowed);
    if (column == n_drafts) break;
    const std::optional<int32_t> draft = sequence_.read_draft(column);
    if (!draft) break;
    const auto id = static_cast<uint32_t>(*draft);
    if ((allowed[id / 32] >> (id % 32) & 1) == 0) break;
    now_.tokens.push_back(*draft);
  }
  now_.tokens.resize(n_tokens);  // the drafts were guesses
}

/// A plain step without drafts, a round with them: one submission either way, or, where the host
/// says which tokens may come, the drafts and then the rest.
Status Session::run_round(uint32_t n_drafts, const GenerateRequest& request) {
  std::array<VkCommandBuffer, kRound.size()> commands{};
  size_t n_commands = 0;
  for (const PassEnd end : round_parts(n_drafts)) {
    KL_ASSIGN(const graph::Executable* part, round_part(end, n_drafts, request));
    if (end == PassEnd::draft && request.mask) {
      KL_TRY(run(*part));
    } else {
      commands[n_commands++] = part->commands();
    }
  }
  if (request.mask) write_masks(n_drafts, request.mask);
  return engine_->device().run(std::span(commands).first(n_commands));
}

Result<StopReason> Session::run_rounds(const GenerateRequest& request, Generated& out,
                                       const std::function<bool(int32_t)>& on_token) {
  const auto start = Clock::now();
  // Drafts start from the state that the pass before has left: the first pass is a plain step.
  for (uint32_t n_drafts = 0;; n_drafts = drafting_.pick()) {
    if (cancelled_) return StopReason::cancelled;
    const auto n_before = static_cast<uint32_t>(out.tokens.size());
    const auto n_pending = static_cast<uint32_t>(now_.tokens.size());
    KL_TRY(cache_.commit(std::min(n_pending + n_drafts, context())));
    const auto round_start = Clock::now();
    KL_TRY(run_round(n_drafts, request));
    const shaders::SequenceReport report = sequence_.read_report();
    n_written_ = std::max(n_written_, n_pending + report.n_drafts);
    drafting_.record({.k = n_drafts,
                      .n_drafts = report.n_drafts,
                      .n_accepted = report.n_accepted,
                      .n_emitted = report.n_emitted - n_before,
                      .seconds = seconds_since(round_start)});
    if (out.tokens.empty()) out.first_token_seconds = seconds_since(start);
    for (uint32_t i = n_before; i < report.n_emitted; ++i) {
      // The token that was pending has been computed, and this one is pending now.
      n_cached_ = static_cast<uint32_t>(now_.tokens.size());
      const int32_t token = sequence_.read_token(i);
      now_.tokens.push_back(token);
      out.tokens.push_back(token);
      const bool wanted = !on_token || on_token(token);
      const bool is_last = i + 1 == report.n_emitted && report.done != shaders::kRunning;
      if (is_last && report.done != shaders::kDoneNoCandidate) {
        return stop_reason(report.done, token, engine_->tokenizer());
      }
      if (!wanted) return StopReason::callback;
      // What else the round emitted is forgotten, as if it had not been computed yet.
      if (cancelled_) return StopReason::cancelled;
    }
    if (n_before == 0) KL_TRY(record_rounds(request));
    if (report.done == shaders::kDoneNoCandidate) {
      return Error{ErrorCode::device, fmt::format("no token can be sampled at position {}: every "
                                                  "logit is masked or not a number",
                                                  now_.tokens.size())};
    }
  }
}

Result<Generated> Session::generate(const GenerateRequest& request,
                                    const std::function<bool(int32_t)>& on_token) {
  cancelled_ = false;
  const auto start = Clock::now();
  KL_TRY(begin_generation(request));
  Generated out;
  KL_ASSIGN(out.reason, run_rounds(request, out, on_token));
  out.seconds = seconds_since(start);
  return out;
}

Result<std::vector<graph::NodeTime>> Session::profile_step() {
  KL_ASSIGN(const graph::Executable* step, passes_.get({PassEnd::step, 1, /*profiled=*/true}));
  for (int replay = 0; replay < 2; ++replay) {  // the first one pays for lazy compilation
    KL_TRY(cache_.commit(n_written_ + 1));
    KL_TRY(run(*step));
    ++n_written_;
  }
  return step->node_times(engine_->device());
}

Result<std::vector<double>> Session::time_columns(uint32_t n_runs) {
  constexpr uint32_t kMost = kernels::kMaxDecodeColumns;
  if (n_cached_ + kMost > context()) {
    return Error{ErrorCode::context_full, fmt::format("{} columns behind {} positions, the context "
                                                      "holds {}",
                                                      kMost, n_cached_, context())};
  }
  KL_TRY(cache_.commit(n_cached_ + kMost));
  n_written_ = std::max(n_written_, n_cached_ + kMost);
  std::vector<double> shortest(kMost, std::numeric_limits<double>::infinity());
  for (uint32_t i = 0; i <= n_runs; ++i) {
    for (uint32_t n = 1; n <= kMost; ++n) {
      KL_ASSIGN(const graph::Executable* pass, passes_.get({PassEnd::logits, n}));
      sequence_.write_columns(std::vector<int32_t>(n), n_cached_, n);
      const auto start = Clock::now();
      KL_TRY(run(*pass));
      const double seconds = seconds_since(start);
      // The first run pays for lazy compilation.
      if (i > 0) shortest[n - 1] = std::min(shortest[n - 1], seconds);
    }
  }
  return shortest;
}

Status Session::evaluate(std::span<const int32_t> tokens,
                         const std::function<void(uint32_t, std::span<const float>)>& on_row) {
  cancelled_ = false;
  KL_TRY(check_tokens(tokens));
  KL_TRY(cache_.commit(static_cast<uint32_t>(tokens.size())));
  now_ = {};
  n_cached_ = 0;
  n_written_ = 0;
  snapshots_.forget_after(0);
  const uint32_t n_vocab = engine_->config().n_vocab;
  std::vector<float> logits;
  while (n_cached_ < tokens.size()) {
    if (cancelled_) return Error{ErrorCode::cancelled, "evaluation was cancelled"};
    const auto n = static_cast<uint32_t>(
        std::min<size_t>(kernels::kMaxDecodeColumns, tokens.size() - n_cached_));
    KL_ASSIGN(const graph::Executable* pass, passes_.get({PassEnd::logits, n}));
    const auto part = tokens.subspan(n_cached_, n);
    sequence_.write_columns(part, n_cached_, n);
    KL_TRY(run(*pass));
    KL_TRY(sequence_.read_logits(n, logits));
    for (uint32_t i = 0; i < n; ++i) {
      on_row(n_cached_ + i, std::span<const float>(logits).subspan(i * uint64_t{n_vocab}, n_vocab));
    }
    now_.tokens.insert(now_.tokens.end(), part.begin(), part.end());
    n_cached_ += n;
    n_written_ = n_cached_;
  }
  --n_cached_;  // the last token is pending, like after sync
  return {};
}

}  // namespace kimberlite::runtime
