// The commands of the program. Each adds itself to the command line and, when it was asked for,
// leaves its exit code in `result`.
#pragma once

#include "apps/common.hpp"

namespace kimberlite::cli {

void add_run(CLI::App& app, int& result);
void add_bench(CLI::App& app, int& result);
void add_eval(CLI::App& app, int& result);
void add_show(CLI::App& app, int& result);
void add_tokenize(CLI::App& app, int& result);
void add_devices(CLI::App& app, int& result);
void add_doctor(CLI::App& app, int& result);
void add_convert(CLI::App& app, int& result);
void add_quantize(CLI::App& app, int& result);

}  // namespace kimberlite::cli
