// The options that say which model runs where, spelled as in llama.cpp, and opening what they name.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "apps/common.hpp"

namespace kimberlite::cli {

struct ModelArguments {
  std::string model;
  std::string device;
  std::string gpu_layers = "auto";
  std::string context = "0";
  std::string kv_type;
  std::string draft_model;
  bool no_mtp = false;
  std::string mmproj;
  bool no_mmproj = false;
  bool precise = false;
  std::optional<bool> autotune;
  bool validation = false;
  bool verbose = false;
};

/// MODEL or -m, which may be left out (Pebble), --device, --gpu-layers, --kv-type, -md, --no-mtp,
/// --mmproj, --no-mmproj, --precise, --autotune, --no-autotune, --validation, -v; -c where a
/// context can be chosen.
void add_model_options(CLI::App& command, ModelArguments& arguments, bool with_context = true);

struct SamplingArguments {
  SamplingOptions options;
  std::optional<uint64_t> seed;
};

/// --temp, --top-k, --top-p, --min-p, the penalties and --seed.
void add_sampling_options(CLI::App& command, SamplingArguments& arguments);
/// Without --seed a new one each time.
SamplingOptions sampling_options(const SamplingArguments& arguments);

/// What was named, else Pebble, which a note on stderr says. Errors: io, where it is not there.
Result<std::string> model_or_pebble(const std::string& given);

/// Errors: those of Model::open; invalid_argument.
Result<std::unique_ptr<Model>> open_model(const ModelArguments& arguments);
/// Names on stderr what the driver gets wrong. Errors: those of Model::new_session.
Result<std::unique_ptr<Session>> open_session(Model& model, const ModelArguments& arguments);

/// What the validation layer said, on stderr. False where it said anything.
bool report_validation(const Model& model, const ModelArguments& arguments);

/// The device and why it was taken, the weights and the caches, a line each on stderr.
void print_placement(const Model& model, const Session& session);

}  // namespace kimberlite::cli
