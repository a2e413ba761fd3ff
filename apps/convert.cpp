// kimberlite convert: a Hugging Face folder becomes a GGUF file.
#include <fmt/format.h>

#include "apps/commands.hpp"
#include "apps/long_work.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {
namespace {

struct ConvertArguments {
  std::string folder;
  std::string output;
  ConvertFileOptions options;
  bool json = false;
};

int convert(const ConvertArguments& arguments) {
  const auto notes = run_long_work(arguments.options, [&](const ConvertFileOptions& options) {
    return convert_file(arguments.folder, arguments.output, options);
  });
  if (!notes.ok()) return fail(with_force_hint(notes.error()));
  if (arguments.json) {
    print_json({{"output", arguments.output}, {"type", arguments.options.type}, {"notes", *notes}});
    return kExitOk;
  }
  for (const std::string& note : *notes) fmt::print(stderr, "{}\n", terminal_safe(note));
  return kExitOk;
}

}  // namespace

void add_convert(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand(
      "convert", "a Hugging Face folder, of a model or a drafter, to a GGUF file");
  auto arguments = std::make_shared<ConvertArguments>();
  command.add_option("DIR", arguments->folder, "with config.json, safetensors, tokenizer.json")
      ->required()
      ->option_text(" ");
  command.add_option("OUT", arguments->output, "the GGUF file to write")
      ->required()
      ->option_text(" ");
  command
      .add_option("--type", arguments->options.type,
                  "matrices: f32, f16, bf16, q8_0 or q4_0 [bf16]")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0"}))
      ->option_text("TYPE");
  command.add_option("--name", arguments->options.name, "the model's name [that of the folder]")
      ->option_text("TEXT");
  command.add_option("--description", arguments->options.description, "a sentence or two on it")
      ->option_text("TEXT");
  command.add_flag("--mmproj", arguments->options.mmproj,
                   "write the projector of pictures and sounds, not the text model");
  command.add_flag("--force", arguments->options.overwrite, "replace an existing file");
  command.add_flag("--json", arguments->json, "one object");
  command.callback([arguments, &result] { result = convert(*arguments); });
}

}  // namespace kimberlite::cli
