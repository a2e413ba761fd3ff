// One reply of the model: reading the prompt, writing the answer as it comes, and its speeds.
#pragma once

#include <string>
#include <vector>

#include "apps/common.hpp"
#include "kimberlite/media.hpp"

namespace kimberlite::cli {

struct Answer {
  std::string text;
  SyncResult sync;
  GenerateResult generated;
  uint32_t n_prompt = 0;  // tokens, those that were cached included
};

/// "end_token", "max_tokens", ...
const char* reason_text(StopReason reason);

/// Syncs and generates. Text goes to stdout while it comes, made safe where that is a terminal;
/// `quiet` keeps it for Answer::text alone. Ctrl-C stops it: reason cancelled, or the error
/// cancelled while the prompt is read. Errors: those of Session.
Result<Answer> answer(Session& session, const MediaPrompt& prompt, const GenerateOptions& options,
                      bool quiet);

/// "prompt: 40 tokens (32 cached), 12.3 tokens/s; answer: 20 tokens, 8.1 tokens/s; ...".
std::string speeds_text(const Answer& answer);
Json timings_json(const Answer& answer);

}  // namespace kimberlite::cli
