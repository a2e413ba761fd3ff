// kimberlite bench: tokens per second as llama-bench counts them, and where they go.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/bench_report.hpp"
#include "apps/commands.hpp"
#include "apps/drafting.hpp"
#include "apps/interrupt.hpp"
#include "apps/model_arguments.hpp"

namespace kimberlite::cli {
namespace {

struct BenchArguments {
  ModelArguments model;
  DraftArguments drafts;
  double agree = 0;
  std::string n_prompt = "512";
  std::string n_generate = "128";
  std::string n_depth = "0";
  std::string n_picture;
  uint32_t n_repetitions = 3;
  std::string format = "md";
  std::string kernel;
  bool columns = false;
  bool profile = false;
};

/// Any tokens will do: what they say does not change the work. The first one tells repetitions
/// apart, so that no prefix is reused.
std::vector<int32_t> random_tokens(uint32_t n, uint32_t n_vocab, uint32_t seed) {
  std::vector<int32_t> tokens(n);
  uint64_t state = 0x9e3779b97f4a7c15ull * (seed + 1);
  for (int32_t& token : tokens) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    token = static_cast<int32_t>((state >> 33) % n_vocab);
  }
  tokens[0] = static_cast<int32_t>(seed % n_vocab);
  return tokens;
}

class Bench {
 public:
  Bench(Model& model, Session& session, const BenchArguments& arguments)
      : model_(&model),
        session_(&session),
        drafts_(arguments.drafts),
        agree_(arguments.agree),
        n_repetitions_(arguments.n_repetitions) {}

  /// Seconds to compute `n_prompt` positions, and until a token follows them.
  Result<BenchRow> prompt(uint32_t n_prompt);
  /// Seconds to generate `n_generate` tokens after `n_depth` positions.
  Result<BenchRow> generate(uint32_t n_generate, uint32_t n_depth);

 private:
  Result<double> fresh_prompt(uint32_t n);

  Model* model_;  // Borrowed from the caller, like the session.
  Session* session_;
  DraftArguments drafts_;
  double agree_;
  uint32_t n_repetitions_;
  uint32_t n_prompts_ = 0;  // so far
};

GenerateOptions exactly(uint32_t n_tokens) {
  GenerateOptions options;
  options.max_tokens = n_tokens;
  options.ignore_end = true;
  return options;
}

/// Seconds of a sync that computes `n` positions: the last token is only pending.
Result<double> Bench::fresh_prompt(uint32_t n) {
  const auto sync = session_->sync(random_tokens(n + 1, model_->n_vocab(), n_prompts_++));
  if (!sync.ok()) return sync.error();
  return sync->seconds;
}

Result<BenchRow> Bench::prompt(uint32_t n_prompt) {
  BenchRow row{.test = fmt::format("pp{}", n_prompt), .n_tokens = n_prompt, .is_prompt = true};
  double first_token_seconds = 0;
  for (uint32_t i = 0; i <= n_repetitions_; ++i) {  // the first warms up
    const auto seconds = fresh_prompt(n_prompt);
    if (!seconds.ok()) return seconds.error();
    const auto generated = session_->generate(exactly(1));
    if (!generated.ok()) return generated.error();
    if (generated->reason == StopReason::cancelled) {
      return Error{ErrorCode::cancelled, "interrupted"};
    }
    if (i == 0) continue;
    row.seconds.push_back(*seconds);
    first_token_seconds += *seconds + generated->first_token_seconds;
  }
  row.first_token_seconds = first_token_seconds / n_repetitions_;
  return row;
}

Result<BenchRow> Bench::generate(uint32_t n_generate, uint32_t n_depth) {
  BenchRow row{.test = fmt::format("tg{}", n_generate), .n_tokens = n_generate};
  if (n_depth > 0) row.test += fmt::format("@d{}", n_depth);
  for (uint32_t i = 0; i <= n_repetitions_; ++i) {
    const auto prompt_seconds = fresh_prompt(n_depth);
    if (!prompt_seconds.ok()) return prompt_seconds.error();
    const Statistics before = statistics(*model_);
    GenerateOptions options = exactly(n_generate);
    set_drafts(options, drafts_);
    const auto generated =
        agree_ > 0 ? generate_agreeing(*session_, options, agree_) : session_->generate(options);
    if (!generated.ok()) return generated.error();
    const Statistics after = statistics(*model_);
    if (generated->reason == StopReason::cancelled) {
      return Error{ErrorCode::cancelled, "interrupted"};
    }
    if (generated->tokens.size() != n_generate) {
      return Error{ErrorCode::context_full,
                   fmt::format("{}: {} tokens fit the context of {} positions", row.test,
                               generated->tokens.size(), session_->context())};
    }
    if (i == 0) continue;
    row.seconds.push_back(generated->seconds);
    row.first_token_seconds = generated->first_token_seconds;
    row.loop = {.n_steps = n_generate,
                .submits = after.submits - before.submits,
                .records = after.records - before.records,
                .allocations = after.allocations - before.allocations,
                .growths = after.growths - before.growths};
  }
  const auto figures = decode_figures(*session_);
  if (!figures.ok()) return figures.error();
  row.bytes_per_token = figures->bytes_touched;
  row.loop.n_dispatches = figures->n_dispatches;
  row.loop.n_dense_dispatches = figures->n_dense_dispatches;
  row.loop.n_expert_dispatches = figures->n_expert_dispatches;
  return row;
}

Result<std::vector<uint32_t>> parse_sizes(const char* name, const std::string& text) {
  std::vector<uint32_t> sizes;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const auto size = parse_count(std::string_view(text).substr(at, comma - at));
    if (!size) {
      return Error{ErrorCode::invalid_argument,
                   fmt::format("{}: '{}' is no list of counts, such as 128,512", name, text)};
    }
    sizes.push_back(*size);
    at = comma + 1;
  }
  return sizes;
}

struct Sizes {
  std::vector<uint32_t> prompts;
  std::vector<uint32_t> generates;
  std::vector<uint32_t> depths;
  std::vector<uint32_t> pictures;

  /// Positions that the largest test needs.
  [[nodiscard]] uint64_t context() const {
    const uint64_t prompt = *std::max_element(prompts.begin(), prompts.end());
    const uint64_t generate = *std::max_element(generates.begin(), generates.end());
    const uint64_t depth = *std::max_element(depths.begin(), depths.end());
    const uint64_t picture =
        pictures.empty() ? 0 : *std::max_element(pictures.begin(), pictures.end());
    return std::max({prompt, depth + generate, picture}) + 2;
  }
};

Result<Sizes> parse_all(const BenchArguments& arguments) {
  Sizes sizes;
  const auto prompts = parse_sizes("-p", arguments.n_prompt);
  if (!prompts.ok()) return prompts.error();
  const auto generates = parse_sizes("-n", arguments.n_generate);
  if (!generates.ok()) return generates.error();
  const auto depths = parse_sizes("-d", arguments.n_depth);
  if (!depths.ok()) return depths.error();
  sizes = {*prompts, *generates, *depths, {}};
  if (!arguments.n_picture.empty()) {
    const auto pictures = parse_sizes("--n-picture", arguments.n_picture);
    if (!pictures.ok()) return pictures.error();
    sizes.pictures = *pictures;
  }
  if (sizes.context() > UINT32_MAX) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("-p, -n and -d need a context of {} positions", sizes.context())};
  }
  return sizes;
}

Result<std::vector<BenchRow>> run_tests(Model& model, Session& session, const Sizes& sizes,
                                        const BenchArguments& arguments) {
  Bench bench(model, session, arguments);
  std::vector<BenchRow> rows;
  const InterruptScope scope([&session] { session.cancel(); });
  const auto keep = [&rows, &scope](Result<BenchRow> row) -> Status {
    if (scope.interrupted()) return Error{ErrorCode::cancelled, "interrupted"};
    if (!row.ok()) return row.error();
    rows.push_back(std::move(row).value());
    return {};
  };
  for (const uint32_t n : sizes.prompts) {
    if (n == 0) continue;
    if (Status status = keep(bench.prompt(n)); !status.ok()) return status.error();
  }
  for (const uint32_t depth : sizes.depths) {
    for (const uint32_t n : sizes.generates) {
      if (n == 0) continue;
      if (Status status = keep(bench.generate(n, depth)); !status.ok()) return status.error();
    }
  }
  return rows;
}

int bench_model(const BenchArguments& arguments) {
  const auto sizes = parse_all(arguments);
  if (!sizes.ok()) return fail(sizes.error());
  auto model = open_model(arguments.model);
  if (!model.ok()) return fail(model.error());
  ModelArguments with_context = arguments.model;
  with_context.context = fmt::format("{}", sizes->context());
  auto session = open_session(**model, with_context);
  if (!session.ok()) return fail(session.error());
  if (arguments.model.verbose) print_placement(**model, **session);
  auto rows = run_tests(**model, **session, *sizes, arguments);
  if (!rows.ok()) return fail(rows.error());
  const Statistics now = statistics(**model);  // before the copies, which need memory of their own
  const auto bandwidth = measure_copy_bandwidth(**model);
  if (!bandwidth.ok()) return fail(bandwidth.error());
  auto work = measure_matrix_work(**model);
  if (!work.ok()) return fail(work.error());
  BenchReport report{.model = (*model)->description(),
                     .copy_bytes_per_second = *bandwidth,
                     .work = std::move(work).value(),
                     .statistics = now,
                     .drafting = (*session)->drafting(),
                     .rows = std::move(rows).value(),
                     .nodes = {},
                     .column_seconds = {},
                     .pictures = {}};
  if (arguments.profile) {
    auto nodes = profile_decode(**session);
    if (!nodes.ok()) return fail(nodes.error());
    report.nodes = std::move(nodes).value();
  }
  if (arguments.columns) {
    const std::vector<int32_t> beginning{0};  // where eight columns fit any context
    if (auto read = (*session)->sync(beginning); !read.ok()) return fail(read.error());
    auto seconds = time_columns(**session, arguments.n_repetitions);
    if (!seconds.ok()) return fail(seconds.error());
    report.column_seconds = std::move(seconds).value();
  }
  for (const uint32_t n_tokens : sizes->pictures) {
    if (n_tokens == 0) continue;
    auto picture = time_picture(**session, n_tokens, arguments.n_repetitions);
    if (!picture.ok()) return fail(picture.error());
    report.pictures.push_back(*picture);
  }
  print_report(report, arguments.format);
  return report_validation(**model, arguments.model) ? int{kExitOk} : int{kExitDevice};
}

int bench(const BenchArguments& arguments) {
  if (!arguments.kernel.empty() && !arguments.model.model.empty()) {
    return fail_usage("give either MODEL or --kernel");
  }
  if (arguments.kernel.empty()) return bench_model(arguments);
  ModelOptions options;
  options.device = arguments.model.device;
  options.validation = arguments.model.validation;
  ProgressLine line;
  options.progress = line.callback();
  const auto cases = bench_kernels(arguments.kernel == "all" ? "" : arguments.kernel, options);
  line.clear();
  if (!cases.ok()) return fail(cases.error());
  print_kernels(*cases, arguments.format);
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("bench", "tokens per second of a model, or of a kernel");
  auto arguments = std::make_shared<BenchArguments>();
  add_model_options(command, arguments->model, false);
  command.get_option("--model")->required(false);  // --kernel needs none
  command.add_option("-p,--n-prompt", arguments->n_prompt, "positions to read, a list [512]")
      ->option_text("N,...");
  command.add_option("-n,--n-gen", arguments->n_generate, "tokens to generate, a list [128]")
      ->option_text("N,...");
  command.add_option("-d,--n-depth", arguments->n_depth, "positions before generating [0]")
      ->option_text("N,...");
  command
      .add_option("--n-picture", arguments->n_picture,
                  "tokens of pictures to look at, a list [none]")
      ->option_text("N,...");
  command.add_option("-r,--repetitions", arguments->n_repetitions, "after one to warm up [3]")
      ->check(CLI::Range(1, 1000))
      ->option_text("N");
  command.add_option("-o,--output", arguments->format, "md, json or csv [md]")
      ->check(CLI::IsMember({"md", "json", "csv"}))
      ->option_text("FORMAT");
  command.add_flag_callback(
      "--json", [arguments] { arguments->format = "json"; }, "as -o json");
  command.add_option("--kernel", arguments->kernel, "time one kernel's cases, or all")
      ->option_text("NAME|all");
  add_draft_options(command, arguments->drafts);
  command.add_option("--spec-agree", arguments->agree, "take this share of drafts for right [off]")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text("SHARE");
  command.add_flag("--columns", arguments->columns, "time of passes over 1 to 8 columns");
  command.add_flag("--profile", arguments->profile, "time of each node of a decode step");
  command.callback([arguments, &result] { result = bench(*arguments); });
}

}  // namespace kimberlite::cli
