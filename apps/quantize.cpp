// kimberlite quantize: the weights of a GGUF file in another type.
#include "kimberlite/quantize.hpp"

#include <fmt/format.h>

#include "apps/commands.hpp"
#include "apps/long_work.hpp"
#include "apps/suggest.hpp"
#include "kimberlite/console.hpp"

namespace kimberlite::cli {
namespace {

struct QuantizeArguments {
  std::string input;
  std::string output;
  QuantizeFileOptions options;
  bool json = false;
};

Json to_json(const QuantizeArguments& arguments, const QuantizeSummary& summary) {
  Json json = {{"input", arguments.input},       {"output", arguments.output},
               {"type", arguments.options.type}, {"bytes_before", summary.n_bytes_before},
               {"bytes", summary.n_bytes},       {"types", Json::object()},
               {"notes", summary.notes}};
  for (const TypeTotal& total : summary.types) {
    json["types"][total.type] = {{"tensors", total.n_tensors}, {"bytes", total.n_bytes}};
  }
  return json;
}

void print_text(const QuantizeArguments& arguments, const QuantizeSummary& summary) {
  for (const std::string& note : summary.notes) fmt::print(stderr, "{}\n", terminal_safe(note));
  std::vector<std::string> counts;
  for (const TypeTotal& total : summary.types) {
    counts.push_back(fmt::format("{} {}", total.n_tensors, total.type));
  }
  fmt::print(stderr, "{}: {} of {}, tensors: {}\n", terminal_safe(arguments.output),
             size_text(summary.n_bytes), size_text(summary.n_bytes_before),
             fmt::join(counts, ", "));
}

int quantize(const QuantizeArguments& arguments) {
  const auto summary = run_long_work(arguments.options, [&](const QuantizeFileOptions& options) {
    return quantize_file(arguments.input, arguments.output, options);
  });
  if (!summary.ok()) {
    Error error = with_force_hint(summary.error());
    if (!is_quantize_type(arguments.options.type)) {
      error.message += suggestion(arguments.options.type, quantize_types());
    }
    return fail(error);
  }
  if (arguments.json) {
    print_json(to_json(arguments, *summary));
  } else {
    print_text(arguments, *summary);
  }
  return kExitOk;
}

}  // namespace

void add_quantize(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("quantize", "a GGUF file in another type");
  auto arguments = std::make_shared<QuantizeArguments>();
  command.add_option("IN", arguments->input, "a GGUF file in f32, f16, bf16 or q8_0")
      ->required()
      ->option_text(" ");
  command.add_option("OUT", arguments->output, "the GGUF file to write")
      ->required()
      ->option_text(" ");
  command.add_option("--type", arguments->options.type, "a type or preset of the list below")
      ->required()
      ->transform(to_lower())
      ->option_text("TYPE");
  command
      .add_option("--embedding-type", arguments->options.embedding_type,
                  "of the embedding tables [the preset's, mostly q6_k]")
      ->transform(to_lower())
      ->option_text("TYPE");
  command.add_option("--threads", arguments->options.n_threads, "how many [one per processor]")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  command.add_flag("--force", arguments->options.overwrite, "replace an existing file");
  command.add_flag("--json", arguments->json, "one object");
  command.footer(
      fmt::format("Types: {}.\n"
                  "Norms, the router and the per-layer projection stay as they are. What is\n"
                  "quantised already is copied where the type is the same, and else refused.",
                  fmt::join(quantize_types(), " ")));
  command.callback([arguments, &result] { result = quantize(*arguments); });
}

}  // namespace kimberlite::cli
