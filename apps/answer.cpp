#include "apps/answer.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "apps/interrupt.hpp"
#include "kimberlite/console.hpp"

namespace kimberlite::cli {

const char* reason_text(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "end_token";
    case StopReason::stop_id:
      return "stop_id";
    case StopReason::max_tokens:
      return "max_tokens";
    case StopReason::context_full:
      return "context_full";
    case StopReason::callback:
      return "callback";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Result<Answer> answer(Session& session, const MediaPrompt& prompt, const GenerateOptions& options,
                      bool quiet) {
  Answer out;
  out.n_prompt = static_cast<uint32_t>(prompt.tokens().size());
  const bool is_terminal = console().output_is_terminal;
  const InterruptScope scope([&session] { session.cancel(); });
  {
    ProgressLine line;
    auto read = sync(session, prompt, line.callback());
    if (!read.ok()) return read.error();
    out.sync = *read;
  }
  if (scope.interrupted()) return Error{ErrorCode::cancelled, "interrupted"};
  auto generated = session.generate(options, [&](const TokenEvent& event) {
    out.text += event.text;
    if (quiet || event.text.empty()) return true;
    const std::string shown = is_terminal ? terminal_safe(event.text) : std::string(event.text);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    return std::fflush(stdout) == 0;  // nobody reads on where the disk is full
  });
  if (!quiet && !out.text.empty() && !out.text.ends_with('\n')) fmt::print("\n");
  std::fflush(stdout);
  if (!generated.ok()) return generated.error();
  out.generated = std::move(generated).value();
  return out;
}

std::string speeds_text(const Answer& answer) {
  const GenerateResult& generated = answer.generated;
  const auto n_tokens = static_cast<double>(generated.tokens.size());
  return fmt::format(
      "prompt: {} tokens ({} cached), {:.1f} tokens/s; answer: {} tokens, {:.1f} tokens/s; first "
      "token after {:.3f} s; stopped by {}",
      answer.n_prompt, answer.sync.reused, rate(answer.sync.recomputed, answer.sync.seconds),
      generated.tokens.size(), rate(n_tokens, generated.seconds),
      answer.sync.seconds + generated.first_token_seconds, reason_text(generated.reason));
}

Json timings_json(const Answer& answer) {
  const GenerateResult& generated = answer.generated;
  const auto n_tokens = static_cast<double>(generated.tokens.size());
  return {{"prompt_tokens", answer.n_prompt},
          {"prompt_tokens_cached", answer.sync.reused},
          {"prompt_seconds", answer.sync.seconds},
          {"prompt_tokens_per_second", rate(answer.sync.recomputed, answer.sync.seconds)},
          {"first_token_seconds", answer.sync.seconds + generated.first_token_seconds},
          {"generated_tokens", generated.tokens.size()},
          {"generated_seconds", generated.seconds},
          {"generated_tokens_per_second", rate(n_tokens, generated.seconds)}};
}

}  // namespace kimberlite::cli
