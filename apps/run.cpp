// kimberlite run: one answer, or a chat where a terminal asks for one.
#include <fmt/format.h>

#include "apps/answer.hpp"
#include "apps/attachments.hpp"
#include "apps/chat.hpp"
#include "apps/commands.hpp"
#include "apps/drafting.hpp"
#include "apps/model_arguments.hpp"
#include "kimberlite/console.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {
namespace {

struct RunArguments {
  ModelArguments model;
  SamplingArguments sampling;
  DraftArguments drafts;
  MediaArguments media;
  std::vector<std::string> words;
  std::optional<std::string> prompt;
  std::string file;
  std::string system;
  std::string n_predict = "-1";
  bool raw = false;
  bool json = false;
};

/// The prompt as given; nothing where a chat is wanted. Errors: invalid_argument.
Result<std::optional<std::string>> read_prompt(const RunArguments& arguments) {
  const int n_given = int{!arguments.words.empty()} + int{arguments.prompt.has_value()} +
                      int{!arguments.file.empty()};
  if (n_given > 1) {
    return Error{ErrorCode::invalid_argument, "more than one of PROMPT, -p and -f was given"};
  }
  if (!arguments.words.empty()) {
    std::string text = arguments.words[0];
    for (size_t i = 1; i < arguments.words.size(); ++i) text += " " + arguments.words[i];
    return std::optional(std::move(text));
  }
  if (arguments.prompt) return std::optional(*arguments.prompt);
  if (arguments.file.empty() && console().input_is_terminal) {
    return std::optional<std::string>();
  }
  const std::string source = arguments.file.empty() ? "-" : arguments.file;
  auto text = read_text(source);
  if (!text.ok()) return text.error();
  if (text->ends_with('\n')) text->pop_back();
  if (text->empty()) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("the prompt from {} is empty", source == "-" ? "stdin" : source)};
  }
  return std::optional(std::move(text).value());
}

void print_answer(const Model& model, const Session& session, const Answer& given, uint64_t seed) {
  Json timings = timings_json(given);
  const Statistics now = statistics(model);
  timings["load_seconds"] = now.load_seconds;
  print_json({{"text", given.text},
              {"tokens", given.generated.tokens},
              {"reason", reason_text(given.generated.reason)},
              {"seed", seed},
              {"timings", timings},
              {"mtp", drafting_json(session.drafting())},
              {"warnings", now.warnings}});
}

int run_once(const Model& model, Session& session, Conversation& conversation,
             const std::string& prompt, std::vector<Part> media, const GenerateOptions& options,
             const RunArguments& arguments) {
  const auto encoded = conversation.add_user(prompt, std::move(media));
  if (!encoded.ok()) return fail(encoded.error());
  const auto given = answer(session, *encoded, options, arguments.json);
  if (!given.ok()) return fail(given.error());
  if (arguments.json) print_answer(model, session, *given, options.sampling.seed);
  if (arguments.model.verbose) {
    fmt::print(stderr, "{}; {}; seed {}\n", speeds_text(*given), drafting_text(session.drafting()),
               options.sampling.seed);
  }
  return given->generated.reason == StopReason::cancelled ? int{kExitInterrupted} : int{kExitOk};
}

int run(const RunArguments& arguments) {
  auto prompt = read_prompt(arguments);
  if (!prompt.ok()) return fail(prompt.error());
  if (!prompt->has_value() && arguments.json) {
    return fail_usage("--json needs a prompt: PROMPT, -p, -f or stdin");
  }
  if (const Status status = check_files(arguments.media); !status.ok()) return fail(status.error());
  auto model = open_model(arguments.model);
  if (!model.ok()) return fail(model.error());
  auto session = open_session(**model, arguments.model);
  if (!session.ok()) return fail(session.error());
  if (arguments.model.verbose) print_placement(**model, **session);

  GenerateOptions options;
  options.sampling = sampling_options(arguments.sampling);
  options.max_tokens = parse_count(arguments.n_predict).value_or(0);  // 0 = no limit
  set_drafts(options, arguments.drafts);
  Conversation conversation(**model, arguments.raw, arguments.system);
  if (conversation.fell_back()) {
    fmt::print(stderr, "note: the vocabulary has no turn tokens; plain completion (--raw)\n");
  }
  auto media = read_media(**model, arguments.media);
  if (!media.ok()) return fail(media.error());
  const int result =
      prompt->has_value()
          ? run_once(**model, **session, conversation, **prompt, std::move(media).value(), options,
                     arguments)
          : chat(**model, **session, std::move(conversation), std::move(media).value(),
                 {options, parse_budget(arguments.media.budget), arguments.model.verbose});
  const bool valid = report_validation(**model, arguments.model);
  return result == kExitOk && !valid ? int{kExitDevice} : result;
}

CLI::Validator predict_check() {
  const auto check = [](const std::string& text) {
    if (text == "-1" || parse_count(text).value_or(0) > 0) return std::string();
    return fmt::format("'{}' tokens, expected a positive number, or -1 for no limit", text);
  };
  return {check, "N"};
}

}  // namespace

void add_run(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("run", "answer a prompt, or chat on a terminal");
  auto arguments = std::make_shared<RunArguments>();
  add_model_options(command, arguments->model);
  command.add_option("PROMPT", arguments->words, "one answer to this; without it a chat, or stdin")
      ->option_text(" ");
  command.add_option("-p,--prompt", arguments->prompt, "the prompt")->option_text("TEXT");
  command.add_option("-f,--file", arguments->file, "the prompt is in this file")
      ->option_text("FILE");
  command.add_option("--system", arguments->system, "-sys: the system message")
      ->option_text("TEXT");
  command.add_option("-n,--predict", arguments->n_predict, "tokens at most, -1 = no limit [-1]")
      ->check(predict_check())
      ->option_text("N");
  add_sampling_options(command, arguments->sampling);
  add_draft_options(command, arguments->drafts);
  add_media_options(command, arguments->media);
  command.add_flag("--raw", arguments->raw, "plain completion, no chat turns");
  command.add_flag("--json", arguments->json, "one object: text, tokens, reason, timings, ...");
  command.callback([arguments, &result] { result = run(*arguments); });
}

}  // namespace kimberlite::cli
