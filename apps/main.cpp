// kimberlite: the command line. Answers go to stdout, everything else to stderr.
#include <fmt/format.h>

#include <algorithm>

#include "apps/commands.hpp"
#include "apps/interrupt.hpp"
#include "kimberlite/console.hpp"

namespace {

using kimberlite::cli::fail_usage;

/// llama.cpp's short names of several letters, which CLI11 does not know, as their long names.
void spell_out(std::vector<std::string>& arguments) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"-dev", "--device"},  {"-ngl", "--gpu-layers"},
      {"-ctk", "--kv-type"}, {"--cache-type-k", "--kv-type"},
      {"-sys", "--system"},  {"--system-prompt", "--system"},
  };
  for (std::string& argument : arguments) {
    if (argument == "--") return;
    for (const auto& [name, long_name] : kNames) {
      if (argument == name) argument = long_name;
    }
  }
}

void describe(CLI::App& app) {
  app.set_version_flag("--version", "kimberlite " KIMBERLITE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  app.footer(
      "Exit codes: 0 ok, 1 usage, 2 model, 3 device, 4 memory, 130 interrupted.\n"
      "`kimberlite COMMAND --help` says more about each command.");
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
  kimberlite::cli::add_convert(app, result);
  kimberlite::cli::add_bench(app, result);
  kimberlite::cli::add_eval(app, result);
  std::vector<std::string> arguments = kimberlite::program_arguments(argc, argv);
  spell_out(arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& help) {  // --help and --version
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail_usage(fmt::format("{} (see --help)", error.what()));
  }
  return result;
}
