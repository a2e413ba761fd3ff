// kimberlite: the command line. Answers go to stdout, everything else to stderr.
#include <fmt/format.h>

#include <cstdio>

#include "apps/commands.hpp"
#include "apps/interrupt.hpp"
#include "apps/suggest.hpp"
#include "kimberlite/console.hpp"

namespace {

using kimberlite::cli::fail_usage;
using kimberlite::cli::suggestion;

/// llama.cpp's short names of several letters, which CLI11 does not know, as their long names.
void spell_out(std::vector<std::string>& arguments) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"-dev", "--device"},
      {"-ngl", "--gpu-layers"},
      {"-md", "--model-draft"},
      {"-ctk", "--kv-type"},
      {"--cache-type-k", "--kv-type"},
      {"-sys", "--system"},
      {"--system-prompt", "--system"},
  };
  for (std::string& argument : arguments) {
    if (argument == "--") return;
    for (const auto& [name, long_name] : kNames) {
      if (argument == name) argument = long_name;
    }
  }
}

constexpr const char* kExitCodes =
    "Exit codes: 0 ok, 1 usage or output, 2 model, 3 device, 4 memory, 130 interrupted.";

/// Before commands are added, which take it over.
void describe(CLI::App& app) {
  app.set_version_flag("--version", "kimberlite " KIMBERLITE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  app.footer(kExitCodes);
}

/// Names of the commands below `app`, or its own long options; groups of options have no name.
std::vector<std::string> known_names(const CLI::App& app, bool options) {
  std::vector<std::string> names;
  for (const CLI::App* below : app.get_subcommands({})) {
    const bool is_group = below->get_name().empty();
    if (!is_group && !options) names.push_back(below->get_name());
    if (!is_group || !options) continue;
    const std::vector<std::string> own = known_names(*below, true);
    names.insert(names.end(), own.begin(), own.end());
  }
  if (!options) return names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// What is wrong with a word that `app` does not take.
std::string explain_extra(const CLI::App& app, const std::string& word) {
  const bool is_option = word.starts_with('-');
  const std::vector<std::string> names = known_names(app, is_option);
  if (names.empty()) return fmt::format("'{}': one argument too many", word);
  return fmt::format("'{}' is no {} of {}{}", word, is_option ? "option" : "command",
                     app.get_name(), suggestion(word, names));
}

/// The command in which parsing ended.
const CLI::App& innermost(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : innermost(*commands.back());
}

std::string explain(const CLI::App& app, const CLI::ParseError& error,
                    const std::vector<std::string>& arguments) {
  const CLI::App& command = innermost(app);
  if (const auto left = command.remaining(); !left.empty()) return explain_extra(command, left[0]);
  // CLI11 misses the command before it looks at a word that is none.
  const bool misspelt = &command == &app && !arguments.empty() && !arguments[0].starts_with('-');
  return misspelt ? explain_extra(app, arguments[0]) : error.what();
}

/// 0, or an exit code where what was printed did not arrive: a full disk, for one.
int finish_output() {
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return 0;
  return fail_usage("cannot write to stdout");
}

}  // namespace

int main(int argc, char** argv) {
  kimberlite::cli::install_interrupt_handler();
  CLI::App app("Kimberlite: Gemma 4 on any GPU through Vulkan.", "kimberlite");
  describe(app);
  int result = 0;
  kimberlite::cli::add_run(app, result);
  kimberlite::cli::add_show(app, result);
  kimberlite::cli::add_tokenize(app, result);
  kimberlite::cli::add_devices(app, result);
  kimberlite::cli::add_doctor(app, result);
  kimberlite::cli::add_convert(app, result);
  kimberlite::cli::add_quantize(app, result);
  kimberlite::cli::add_bench(app, result);
  kimberlite::cli::add_eval(app, result);
  app.footer(
      fmt::format("{}\n`kimberlite COMMAND --help` says more about each command.", kExitCodes));
  std::vector<std::string> arguments = kimberlite::program_arguments(argc, argv);
  spell_out(arguments);
  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& help) {  // --help and --version
    result = app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail_usage(fmt::format("{} (see --help)", explain(app, error, arguments)));
  }
  const int written = finish_output();
  return result != 0 ? result : written;
}
