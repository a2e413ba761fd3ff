#include "apps/model_arguments.hpp"

#include <fmt/format.h>

#include <random>

#include "apps/drafting.hpp"
#include "kimberlite/console.hpp"
#include "kimberlite/media.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {
namespace {

CLI::Validator layers_check() {
  const auto check = [](const std::string& text) {
    return text == "auto" || text == "all" || parse_count(text)
               ? std::string()
               : fmt::format("'{}' is neither auto nor all nor a number of layers", text);
  };
  return {check, "auto|all|N"};
}

/// "all" is a number that only the file knows.
Result<std::optional<uint32_t>> gpu_layers(const std::string& asked, const std::string& model) {
  if (asked == "auto") return std::optional<uint32_t>();
  if (asked != "all") return parse_count(asked);
  auto info = inspect_file(model);
  if (!info.ok()) return info.error();
  for (const MetadataEntry& entry : info->metadata) {
    if (entry.key == info->architecture + ".block_count") return parse_count(entry.value);
  }
  return Error{ErrorCode::bad_file,
               fmt::format("{}: no {}.block_count", model, info->architecture)};
}

}  // namespace

void add_model_options(CLI::App& command, ModelArguments& arguments, bool with_context) {
  command
      .add_option("MODEL,-m,--model", arguments.model,
                  "a GGUF file (the first of a split one) [Pebble]")
      ->option_text("FILE");
  command.add_option("--device", arguments.device, "-dev: index, part of the name, vendor or UUID")
      ->option_text("NAME");
  command.add_option("--gpu-layers", arguments.gpu_layers, "-ngl: layers in GPU memory [auto]")
      ->check(layers_check())
      ->option_text("auto|all|N");
  if (with_context) {
    command.add_option("-c,--ctx-size", arguments.context, "positions, 64k is fine [what fits]")
        ->check(count_check())
        ->option_text("N");
  }
  command.add_option("--kv-type", arguments.kv_type, "-ctk: f32, f16 or q8_0 [f16]")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->option_text("TYPE");
  command.add_option("--model-draft", arguments.draft_model, "-md: drafter [beside the model]")
      ->option_text("FILE");
  command.add_flag("--no-mtp", arguments.no_mtp, "do without a drafter: the same tokens");
  command.add_option("--mmproj", arguments.mmproj, "projector of pictures and sounds [beside it]")
      ->option_text("FILE");
  command.add_flag("--no-mmproj", arguments.no_mmproj, "no pictures and no sounds");
  command.add_flag("--precise", arguments.precise, "float32 activations and KV cache");
  const auto add_autotune = [&](const char* name, bool value, const char* what) {
    return command.add_flag_callback(
        name, [&, value] { arguments.autotune = value; }, what);
  };
  add_autotune("--no-autotune", false, "time no kernels; --autotune: on a CPU driver too");
  add_autotune("--autotune", true, "")->group("");
  command.add_flag("--validation", arguments.validation, "check all Vulkan calls (slow)");
  command.add_flag("-v,--verbose", arguments.verbose, "device, memory and speeds on stderr");
}

void add_sampling_options(CLI::App& command, SamplingArguments& arguments) {
  SamplingOptions& options = arguments.options;
  const auto add = [&](const char* name, auto& value, const char* what, double low, double high) {
    command.add_option(name, value, fmt::format("{} [{}]", what, value))
        ->check(CLI::Range(low, high))
        ->option_text("X");
  };
  add("--temp", options.temperature, "temperature, 0 = the most likely token", 0, 1000);
  add("--top-k", options.top_k, "of the k most likely, 0 = off", 0, 1e9);
  add("--top-p", options.top_p, "of the most likely with this sum, 1 = off", 0, 1);
  add("--min-p", options.min_p, "at least this share of the best, 0 = off", 0, 1);
  add("--repeat-penalty", options.repeat_penalty, "divides repeated logits, 1 = off", 0.01, 100);
  add("--presence-penalty", options.presence_penalty, "taken off repeated logits", -100, 100);
  add("--frequency-penalty", options.frequency_penalty, "the same for each time", -100, 100);
  command.add_option("--seed", arguments.seed, "the same seed gives the same tokens [random]")
      ->option_text("N");
}

SamplingOptions sampling_options(const SamplingArguments& arguments) {
  SamplingOptions options = arguments.options;
  // 32 bits, so that the number survives JSON readers that keep 53.
  options.seed = arguments.seed ? *arguments.seed : std::random_device()();
  return options;
}

Result<std::string> model_or_pebble(const std::string& given) {
  if (!given.empty()) return given;
  auto path = find_demonstration_model();
  if (path.ok()) {
    fmt::print(stderr, "note: no model was named; this is Pebble, a tiny demonstration model\n");
  }
  return path;
}

Result<std::unique_ptr<Model>> open_model(const ModelArguments& arguments) {
  const auto path = model_or_pebble(arguments.model);
  if (!path.ok()) return path.error();
  ModelOptions options;
  options.device = arguments.device;
  options.validation = arguments.validation;
  options.precise = arguments.precise;
  options.draft = !arguments.no_mtp;
  options.draft_model = arguments.draft_model;
  options.media = !arguments.no_mmproj;
  options.mmproj = arguments.mmproj;
  options.autotune = arguments.autotune;
  auto layers = gpu_layers(arguments.gpu_layers, *path);
  if (!layers.ok()) return layers.error();
  options.gpu_layers = *layers;
  ProgressLine line;
  options.progress = line.callback();
  if (arguments.verbose) fmt::print(stderr, "loading {}\n", terminal_safe(*path));
  return Model::open(*path, options);
}

Result<std::unique_ptr<Session>> open_session(Model& model, const ModelArguments& arguments) {
  SessionOptions options;
  options.context = parse_count(arguments.context).value_or(0);
  if (arguments.kv_type == "f32") options.kv_type = KvCacheType::f32;
  if (arguments.kv_type == "f16") options.kv_type = KvCacheType::f16;
  if (arguments.kv_type == "q8_0") options.kv_type = KvCacheType::q8_0;
  ProgressLine line;
  options.progress = line.callback();
  auto session = model.new_session(options);
  line.clear();
  // Not before: what the caches need is checked when they are made.
  for (const std::string& warning : statistics(model).warnings) {
    fmt::print(stderr, "warning: {}\n", terminal_safe(warning));
  }
  return session;
}

bool report_validation(const Model& model, const ModelArguments& arguments) {
  if (!arguments.validation) return true;
  const std::vector<std::string> messages = validation_messages(model);
  for (const std::string& message : messages) {
    fmt::print(stderr, "validation: {}\n", terminal_safe(message));
  }
  fmt::print(stderr, "validation: {} messages\n", messages.size());
  return messages.empty();
}

void print_placement(const Model& model, const Session& session) {
  const Statistics now = statistics(model);
  fmt::print(stderr, "model:   {}\n", terminal_safe(model.description()));
  fmt::print(stderr, "device:  {}; driver {}\n", terminal_safe(now.device_reason),
             terminal_safe(now.device_driver));
  fmt::print(stderr, "weights: {}, {} of {} layers in GPU memory, {} read over the bus\n",
             size_text(now.weight_bytes), now.n_gpu_layers, now.n_layers,
             size_text(now.host_weight_bytes));
  if (now.table_bytes != 0) {
    fmt::print(stderr,
               "         {} of per-layer embeddings in host memory, gathered by the device\n",
               size_text(now.table_bytes));
  }
  fmt::print(stderr, "memory:  {} held for a context of {} positions (the model's limit is {})\n",
             size_text(now.device_bytes), session.context(), model.max_context());
  fmt::print(stderr, "drafts:  {}\n", terminal_safe(drafting_text(session.drafting())));
  const MediaSupport media = media_support(model);
  fmt::print(stderr, "media:   {}\n",
             terminal_safe(media.mmproj.empty() ? "none: " + media.reason : media.mmproj));
  fmt::print(stderr, "loaded in {:.2f} s; {} pipelines in {:.2f} s\n", now.load_seconds,
             now.n_pipelines, now.pipeline_seconds);
}

}  // namespace kimberlite::cli
