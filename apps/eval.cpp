// kimberlite eval: logits, token ids, perplexity and divergence, for comparing with other engines
// and with ourselves.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "apps/answer.hpp"
#include "apps/attachments.hpp"
#include "apps/commands.hpp"
#include "apps/drafting.hpp"
#include "apps/interrupt.hpp"
#include "apps/model_arguments.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {
namespace {

struct EvalArguments {
  ModelArguments model;
  SamplingArguments sampling;
  DraftArguments drafts;
  MediaArguments media;
  std::string tokens;
  std::string file;
  std::string output;
  std::string n_predict = "16";
  bool ignore_end = false;
  bool precise_vs_default = true;
  bool json = false;
};

using OnRow = std::function<void(uint32_t, std::span<const float>)>;

/// A model that is open, and the tokens to look at.
struct Subject {
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;
  std::vector<int32_t> tokens;

  Status evaluate_rows(const OnRow& on_row) const;
};

Result<Subject> open_subject(const EvalArguments& arguments) {
  Subject subject;
  if (!arguments.tokens.empty()) {
    auto ids = parse_ids(arguments.tokens);
    if (!ids.ok()) return ids.error();
    subject.tokens = std::move(ids).value();
  }
  const auto text = arguments.file.empty() ? Result<std::string>("") : read_text(arguments.file);
  if (!text.ok()) return text.error();
  auto model = open_model(arguments.model);
  if (!model.ok()) return model.error();
  subject.model = std::move(model).value();
  auto session = open_session(*subject.model, arguments.model);
  if (!session.ok()) return session.error();
  subject.session = std::move(session).value();
  if (arguments.model.verbose) print_placement(*subject.model, *subject.session);
  if (subject.tokens.empty()) {
    auto ids = subject.model->encode(*text);
    if (!ids.ok()) return ids.error();
    subject.tokens = std::move(ids).value();
  }
  return subject;
}

Status Subject::evaluate_rows(const OnRow& on_row) const {
  const InterruptScope scope([this] { session->cancel(); });
  ProgressLine line;
  return evaluate(*session, tokens, [&](uint32_t position, std::span<const float> logits) {
    line.show("evaluating", position / static_cast<double>(tokens.size()));
    on_row(position, logits);
  });
}

Error too_few_tokens(size_t n) {
  return {ErrorCode::invalid_argument,
          fmt::format("there is nothing to predict: {} token, needed are at least 2", n)};
}

/// log(sum(exp(logits))), in double.
double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  return top + std::log(sum);
}

size_t arg_max(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int finish(const Subject& subject, const EvalArguments& arguments) {
  return report_validation(*subject.model, arguments.model) ? int{kExitOk} : int{kExitDevice};
}

int logits(const EvalArguments& arguments) {
  const auto subject = open_subject(arguments);
  if (!subject.ok()) return fail(subject.error());
  const std::u8string path(arguments.output.begin(), arguments.output.end());
  std::ofstream file(std::filesystem::path(path), std::ios::binary);
  if (!file) return fail_usage(arguments.output + ": cannot write");
  const Status status = subject->evaluate_rows([&](uint32_t, std::span<const float> row) {
    file.write(reinterpret_cast<const char*>(row.data()),
               static_cast<std::streamsize>(row.size_bytes()));
  });
  if (!status.ok()) return fail(status.error());
  file.close();
  if (!file) return fail_usage(arguments.output + ": cannot write all logits");
  const size_t n_tokens = subject->tokens.size();
  const uint32_t n_vocab = subject->model->n_vocab();
  if (arguments.json) {
    print_json({{"output", arguments.output}, {"n_tokens", n_tokens}, {"n_vocab", n_vocab}});
  } else {
    fmt::print("{}: float32 [{}, {}]\n", arguments.output, n_tokens, n_vocab);
  }
  return finish(*subject, arguments);
}

int generate(const EvalArguments& arguments) {
  const auto subject = open_subject(arguments);
  if (!subject.ok()) return fail(subject.error());
  GenerateOptions options;
  options.sampling = sampling_options(arguments.sampling);
  options.max_tokens = parse_count(arguments.n_predict).value_or(0);
  options.ignore_end = arguments.ignore_end;
  set_drafts(options, arguments.drafts);
  const auto given = answer(*subject->session, MediaPrompt(subject->tokens), options, true);
  if (!given.ok()) return fail(given.error());
  if (arguments.json) {
    print_json({{"tokens", given->generated.tokens},
                {"reason", reason_text(given->generated.reason)},
                {"seed", options.sampling.seed},
                {"timings", timings_json(*given)},
                {"mtp", drafting_json(subject->session->drafting())}});
  } else {
    fmt::print("[{}]\n", fmt::join(given->generated.tokens, ", "));
  }
  if (given->generated.reason == StopReason::cancelled) return kExitInterrupted;
  return finish(*subject, arguments);
}

int perplexity(const EvalArguments& arguments) {
  const auto subject = open_subject(arguments);
  if (!subject.ok()) return fail(subject.error());
  const std::vector<int32_t>& tokens = subject->tokens;
  if (tokens.size() < 2) return fail(too_few_tokens(tokens.size()));
  double sum = 0;
  const Status status = subject->evaluate_rows([&](uint32_t i, std::span<const float> row) {
    if (i + 1 < tokens.size()) sum += log_sum_exp(row) - row[static_cast<size_t>(tokens[i + 1])];
  });
  if (!status.ok()) return fail(status.error());
  const size_t n_predicted = tokens.size() - 1;
  const double mean = sum / static_cast<double>(n_predicted);
  if (arguments.json) {
    print_json({{"mean_nll", mean},
                {"perplexity", std::exp(mean)},
                {"n_tokens", tokens.size()},
                {"n_predicted", n_predicted}});
  } else {
    fmt::print("perplexity {:.6f}, mean negative log likelihood {:.6f} over {} of {} tokens\n",
               std::exp(mean), mean, n_predicted, tokens.size());
  }
  return finish(*subject, arguments);
}

/// Rows of logits on disk: two models do not fit the device at once, and the rows of a long text
/// do not fit the memory.
class RowFile {
 public:
  RowFile() : file_(std::tmpfile()) {}
  ~RowFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;

  void write(std::span<const float> row) {
    ok_ = ok_ && file_ != nullptr && std::fwrite(row.data(), 4, row.size(), file_) == row.size();
  }
  void rewind() {
    if (file_ != nullptr) std::rewind(file_);
  }
  void read(std::span<float> row) {
    ok_ = ok_ && std::fread(row.data(), 4, row.size(), file_) == row.size();
  }
  [[nodiscard]] bool ok() const { return ok_ && file_ != nullptr; }

 private:
  std::FILE* file_;
  bool ok_ = true;
};

/// How far one distribution is from another, over all positions.
struct Divergence {
  double sum = 0;
  double largest = 0;
  size_t n_rows = 0;
  size_t n_same_top = 0;

  /// KL(p || q) of the softmaxes of two rows of logits.
  void add(std::span<const float> p_logits, std::span<const float> q_logits) {
    const double p_norm = log_sum_exp(p_logits);
    const double q_norm = log_sum_exp(q_logits);
    double divergence = 0;
    for (size_t i = 0; i < p_logits.size(); ++i) {
      const double log_p = p_logits[i] - p_norm;
      divergence += std::exp(log_p) * (log_p - (q_logits[i] - q_norm));
    }
    sum += divergence;
    largest = std::max(largest, divergence);
    n_same_top += arg_max(p_logits) == arg_max(q_logits) ? 1 : 0;
    ++n_rows;
  }
};

void print_divergence(const Divergence& divergence, bool json) {
  const auto n_rows = static_cast<double>(divergence.n_rows);
  const double mean = divergence.sum / n_rows;
  const double agreement = static_cast<double>(divergence.n_same_top) / n_rows;
  if (json) {
    print_json({{"mean_kl", mean},
                {"max_kl", divergence.largest},
                {"top1_agreement", agreement},
                {"n_tokens", divergence.n_rows}});
  } else {
    fmt::print(
        "KL(precise || default): mean {:.3e}, max {:.3e}; top-1 agreement {:.4f} over {} "
        "tokens\n",
        mean, divergence.largest, agreement, divergence.n_rows);
  }
}

int kl(EvalArguments arguments) {
  // Both times the same, and said once.
  auto model = model_or_pebble(arguments.model.model);
  if (!model.ok()) return fail(model.error());
  arguments.model.model = std::move(model).value();
  RowFile rows;
  {
    arguments.model.precise = true;
    const auto precise = open_subject(arguments);
    if (!precise.ok()) return fail(precise.error());
    const Status status =
        precise->evaluate_rows([&](uint32_t, std::span<const float> row) { rows.write(row); });
    if (!status.ok()) return fail(status.error());
  }
  if (!rows.ok()) return fail_usage("the logits do not fit the folder for temporary files");
  rows.rewind();
  arguments.model.precise = false;
  const auto subject = open_subject(arguments);
  if (!subject.ok()) return fail(subject.error());
  std::vector<float> precise_row(subject->model->n_vocab());
  Divergence divergence;
  const Status status = subject->evaluate_rows([&](uint32_t, std::span<const float> row) {
    rows.read(precise_row);
    divergence.add(precise_row, row);
  });
  if (!status.ok()) return fail(status.error());
  if (!rows.ok()) return fail_usage("the logits cannot be read back from their temporary file");
  print_divergence(divergence, arguments.json);
  return finish(*subject, arguments);
}

/// All embeddings of what was named, one after the other.
Result<std::vector<float>> embed_all(const Model& model, const std::vector<Part>& parts) {
  std::vector<float> rows;
  for (const Part& part : parts) {
    const auto more = std::visit(
        [&](const auto& media) -> Result<std::vector<float>> {
          if constexpr (std::is_same_v<std::decay_t<decltype(media)>, std::string>) {
            return std::vector<float>();
          } else {
            return embed(model, media);
          }
        },
        part);
    if (!more.ok()) return more.error();
    rows.insert(rows.end(), more->begin(), more->end());
  }
  return rows;
}

int embeddings(const EvalArguments& arguments) {
  if (!arguments.media.any()) {
    return fail_usage("name a picture (--image), a sound (--audio) or a video (--video)");
  }
  if (const Status status = check_files(arguments.media); !status.ok()) return fail(status.error());
  auto model = open_model(arguments.model);
  if (!model.ok()) return fail(model.error());
  const auto parts = read_media(**model, arguments.media);
  if (!parts.ok()) return fail(parts.error());
  const auto rows = embed_all(**model, *parts);
  if (!rows.ok()) return fail(rows.error());
  const std::u8string path(arguments.output.begin(), arguments.output.end());
  std::ofstream file(std::filesystem::path(path), std::ios::binary);
  file.write(reinterpret_cast<const char*>(rows->data()),
             static_cast<std::streamsize>(rows->size() * sizeof(float)));
  file.close();
  if (!file) return fail_usage(arguments.output + ": cannot write");
  return report_validation(**model, arguments.model) ? int{kExitOk} : int{kExitDevice};
}

using Run = int (*)(const EvalArguments&);

/// A command below eval with what all of them take: a model, tokens or a file, --json.
CLI::App& add_kind(CLI::App& eval, const char* name, const char* what,
                   const std::shared_ptr<EvalArguments>& arguments, int& result, Run run) {
  CLI::App& command = *eval.add_subcommand(name, what);
  add_model_options(command, arguments->model);
  CLI::Option_group& source = *command.add_option_group("Text", "one of");
  source.add_option("--tokens", arguments->tokens, "token ids, such as 2,9259")->option_text("IDS");
  source.add_option("-f,--file", arguments->file, "a text file, - is stdin; <bos> is put in front")
      ->option_text("FILE");
  source.require_option(1);
  command.add_flag("--json", arguments->json, "one object");
  command.callback([arguments, &result, run] { result = run(*arguments); });
  return command;
}

}  // namespace

void add_eval(CLI::App& app, int& result) {
  CLI::App& eval =
      *app.add_subcommand("eval", "logits, token ids, embeddings, perplexity, divergence");
  eval.require_subcommand(1);
  auto arguments = std::make_shared<EvalArguments>();
  add_kind(eval, "logits", "float32 [n_tokens, n_vocab], little-endian, to a file", arguments,
           result, logits)
      .add_option("-o,--output", arguments->output, "the file to write")
      ->required()
      ->option_text("FILE");
  CLI::App& ids =
      add_kind(eval, "generate", "token ids as a JSON array", arguments, result, generate);
  ids.add_option("-n,--predict", arguments->n_predict, "tokens at most [16]")
      ->check(count_check())
      ->option_text("N");
  ids.add_flag("--ignore-end", arguments->ignore_end, "go on after an end token");
  add_sampling_options(ids, arguments->sampling);
  add_draft_options(ids, arguments->drafts);
  CLI::App& media =
      *eval.add_subcommand("embed", "float32 [n_tokens, width] of pictures, sounds and videos");
  add_model_options(media, arguments->model, /*with_context=*/false);
  add_media_options(media, arguments->media);
  media.add_option("-o,--output", arguments->output, "the file to write")
      ->required()
      ->option_text("FILE");
  media.callback([arguments, &result] { result = embeddings(*arguments); });
  add_kind(eval, "perplexity", "of a text", arguments, result, perplexity);
  add_kind(eval, "kl", "how far the default arithmetic is from --precise", arguments, result,
           [](const EvalArguments& given) { return kl(given); })
      .add_flag("--precise-vs-default", arguments->precise_vs_default,
                "the pair that is compared; there is no other");
}

}  // namespace kimberlite::cli
