// Session: one conversation on an engine. Keeps the KV cache in step with a list of tokens, and
// generates by replaying the recorded step.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "kernels/sample.hpp"
#include "kimberlite/kimberlite.hpp"
#include "runtime/draft_policy.hpp"
#include "runtime/engine.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/passes.hpp"
#include "runtime/prefill_plan.hpp"
#include "runtime/prompt.hpp"
#include "runtime/ring_snapshot.hpp"
#include "runtime/sequence.hpp"

namespace kimberlite::runtime {

struct SyncCounts {
  uint32_t reused = 0;
  uint32_t recomputed = 0;
};

struct GenerateRequest {
  kernels::SamplingSettings sampling;
  uint32_t max_tokens = 0;        // 0 = no limit but the context
  std::vector<int32_t> stop_ids;  // these end the generation; emitted themselves
  /// Drafts of a round, with a drafter: at most so many, or always so many. Never changes a token.
  uint32_t max_drafts = kMaxDrafts;
  std::optional<uint32_t> n_drafts;
  uint32_t agree = 0;  // kernels::AcceptOptions; with anything but 0 the tokens are worthless
  TokenMask mask;      // unset: every token may come
};

struct Generated {
  StopReason reason = StopReason::end_token;
  std::vector<int32_t> tokens;
  double seconds = 0;
  double first_token_seconds = 0;
};

class Session {
 public:
  /// context 0 = the largest that fits. Errors: invalid_argument, out_of_memory, device.
  static Result<std::unique_ptr<Session>> make(Engine& engine, uint32_t context,
                                               std::optional<kernels::KvType> kv_type,
                                               const Progress& progress = {});

  /// Afterwards the session stands for the prompt; all but its last token are in the cache. Errors:
  /// invalid_argument, context_full, out_of_memory where the cache cannot grow (the session stays
  /// as it was), cancelled, device.
  Result<SyncCounts> sync_prompt(const Prompt& prompt, const std::function<void(double)>& progress);
  Result<SyncCounts> sync(std::span<const int32_t> tokens,
                          const std::function<void(double)>& progress);

  /// Logits of the pending token, which stays pending. Errors: invalid_argument where a sync has
  /// not finished; out_of_memory, device.
  Result<std::vector<float>> pending_logits();

  /// `on_token` returns false to stop. The cache grows to prompt + max_tokens first, without a
  /// limit step by step. Errors: as sync; what was emitted before stays part of the session.
  Result<Generated> generate(const GenerateRequest& request,
                             const std::function<bool(int32_t)>& on_token);

  /// Logits at every position of `tokens`, computed in passes of up to 8 columns.
  Status evaluate(std::span<const int32_t> tokens,
                  const std::function<void(uint32_t, std::span<const float>)>& on_row);

  /// Times of each node of a decode step, by device timestamps. The tokens of the session stay as
  /// they are. Errors: device, unsupported.
  Result<std::vector<graph::NodeTime>> profile_step();

  /// Seconds of passes over 1, 2, ... kMaxDecodeColumns columns, with logits of each, as a round
  /// verifies them: the shortest of `n_runs` after one more. They take turns, so that a change in
  /// what else the device does falls on all of them. The tokens of the session stay as they are.
  /// Errors: context_full, out_of_memory, device.
  Result<std::vector<double>> time_columns(uint32_t n_runs);

  /// Memory for masks; a generation with one sees to it by itself. Errors: out_of_memory.
  Status make_masks() { return sequence_.make_masks(); }

  void cancel() { cancelled_ = true; }

  [[nodiscard]] const std::vector<int32_t>& tokens() const { return now_.tokens; }
  [[nodiscard]] const Prompt& prompt() const { return now_; }
  [[nodiscard]] uint32_t context() const { return cache_.context(); }
  [[nodiscard]] Passes& passes() { return passes_; }
  [[nodiscard]] Engine& engine() const { return *engine_; }
  /// Of all rounds of this session so far.
  [[nodiscard]] const DraftPolicy& drafting() const { return drafting_; }
  [[nodiscard]] uint64_t kv_bytes() const { return cache_.n_bytes(); }

 private:
  Session(Engine& engine, KvCache cache, Sequence sequence, uint64_t snapshot_bytes);
  Status prepare(const Progress& progress);
  Status check_tokens(std::span<const int32_t> tokens) const;
  Status check_pending(const char* who) const;
  Result<uint32_t> keep_prefix(const Prompt& prompt);
  Status save_snapshot();
  Status prefill(const Prompt& prompt, const std::function<void(double)>& progress);
  Status run_prefill(const Prompt& prompt, const PrefillStep& step);
  /// In one submission, or in so many at most.
  Status run(const graph::Executable& executable, uint32_t n_submissions = 1);
  Result<StopReason> run_rounds(const GenerateRequest& request, Generated& out,
                                const std::function<bool(int32_t)>& on_token);
  Status begin_generation(const GenerateRequest& request);
  Status record_rounds(const GenerateRequest& request);
  Result<const graph::Executable*> round_part(PassEnd end, uint32_t n_drafts,
                                              const GenerateRequest& request);
  Status run_round(uint32_t n_drafts, const GenerateRequest& request);
  void write_masks(uint32_t n_drafts, const TokenMask& mask);

  Engine* engine_;  // Borrowed from the model.
  KvCache cache_;
  Sequence sequence_;
  Passes passes_;
  RingSnapshots snapshots_;
  DraftPolicy drafting_;
  Prompt now_;              // what the session stands for
  uint32_t n_cached_ = 0;   // positions of it whose K and V are in the cache
  uint32_t n_written_ = 0;  // positions ever written since the cache was rebuilt
  uint32_t row_limit_;      // of a prefill pass, from measured time
  std::atomic<bool> cancelled_ = false;
};

}  // namespace kimberlite::runtime
