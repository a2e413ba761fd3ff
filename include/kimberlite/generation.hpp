// What a generation takes and what it gives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kimberlite {

struct SamplingOptions {
  float temperature = 1.0f;  // 0 = the most likely token
  uint32_t top_k = 64;       // 0 = off
  float top_p = 0.95f;       // 1 = off
  float min_p = 0.0f;        // 0 = off
  float repeat_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;  // the same seed, prompt and settings give the same tokens
};

/// Drafts of a round: with the pending token they fill a decode pass.
inline constexpr uint32_t kMaxDrafts = 7;

/// Which tokens may come next, for answers in a form of their own (schemas). `tokens` is what the
/// session stands for at that place, drafts that may turn out wrong included but each allowed by
/// the mask before it. For every token t that may come, set bit t % 32 of allowed[t / 32]; all are
/// clear at first. Thread rule: called by generate(), must not call the session. A place where
/// nothing is allowed ends generate() with an error, if the text gets there.
using TokenMask = std::function<void(std::span<const int32_t> tokens, std::span<uint32_t> allowed)>;

struct GenerateOptions {
  SamplingOptions sampling;
  uint32_t max_tokens = 0;        // 0 = until the context is full
  std::vector<int32_t> stop_ids;  // beside the model's own end-of-generation tokens
  bool ignore_end = false;        // do not stop at the model's own end tokens
  /// Drafts of a round, where there is a drafter: from 0 to so many, as it pays, or always so many.
  /// The tokens do not depend on it.
  uint32_t max_drafts = kMaxDrafts;
  std::optional<uint32_t> n_drafts;
  TokenMask mask;  // unset: every token may come
};

/// How drafting went in a session so far.
struct DraftStatistics {
  std::string drafter;      // its file; empty where drafting is off
  std::string reason;       // why it is off
  uint32_t n_drafts = 0;    // of a round, as it pays best at present
  uint64_t n_rounds = 0;    // submissions, those without drafts included
  uint64_t n_emitted = 0;   // tokens
  uint64_t n_drafted = 0;   // tokens that were guessed
  uint64_t n_accepted = 0;  // and right
  /// Shares of drafts that were right, by their place in a round, where those before them were.
  std::vector<double> acceptance;
};

struct TokenEvent {
  int32_t token = 0;
  std::string_view text;  // whole UTF-8 characters; may be empty while one is incomplete
};

enum class StopReason : uint8_t {
  end_token,
  stop_id,
  max_tokens,
  context_full,
  callback,
  cancelled
};

struct GenerateResult {
  StopReason reason = StopReason::end_token;
  std::vector<int32_t> tokens;  // everything emitted, the end token included
  double seconds = 0;
  double first_token_seconds = 0;  // from the call to the first token
};

}  // namespace kimberlite
