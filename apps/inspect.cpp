// kimberlite show, tokenize, devices: looking at files, vocabularies and the machine.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/commands.hpp"
#include "apps/long_work.hpp"
#include "apps/model_arguments.hpp"
#include "kimberlite/console.hpp"
#include "kimberlite/quantize.hpp"
#include "kimberlite/tools.hpp"

namespace kimberlite::cli {
namespace {

struct ShowArguments {
  std::string model;
  bool tensors = false;
  bool metadata = false;
  bool verify = false;
  bool json = false;
};

std::map<std::string, TypeTotal> count_types(const FileInfo& info) {
  std::map<std::string, TypeTotal> types;
  for (const TensorSummary& tensor : info.tensors) {
    TypeTotal& total = types[tensor.type];
    ++total.n_tensors;
    total.n_bytes += tensor.n_bytes;
  }
  return types;
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Json to_json(const FileInfo& info, const ShowArguments& arguments) {
  Json json = {{"path", info.path},
               {"architecture", info.architecture},
               {"name", info.name},
               {"description", info.description},
               {"bytes", info.n_bytes},
               {"parameters", info.n_parameters},
               {"shards", info.n_shards},
               {"tensor_count", info.tensors.size()},
               {"types", Json::object()},
               {"supported", info.unsupported.empty()},
               {"unsupported", info.unsupported},
               {"drafter", info.drafter},
               {"no_drafter", info.no_drafter}};
  for (const auto& [type, total] : count_types(info)) {
    json["types"][type] = {{"tensors", total.n_tensors}, {"bytes", total.n_bytes}};
  }
  if (arguments.metadata) {
    json["metadata"] = Json::array();
    for (const MetadataEntry& entry : info.metadata) {
      json["metadata"].push_back(
          {{"key", entry.key}, {"type", entry.type}, {"value", entry.value}});
    }
  }
  if (arguments.tensors) {
    json["tensors"] = Json::array();
    for (const TensorSummary& tensor : info.tensors) {
      json["tensors"].push_back({{"name", tensor.name},
                                 {"type", tensor.type},
                                 {"shape", tensor.shape},
                                 {"bytes", tensor.n_bytes}});
    }
  }
  return json;
}

void print_text(const FileInfo& info, const ShowArguments& arguments) {
  fmt::print("name          {}\n", terminal_safe(info.name));
  if (!info.description.empty()) {
    fmt::print("about         {}\n", terminal_safe(info.description));
  }
  fmt::print("architecture  {}\n", terminal_safe(info.architecture));
  fmt::print("parameters    {:.2f} M\n", static_cast<double>(info.n_parameters) * 1e-6);
  fmt::print("size          {} in {} tensors, {} file{}\n", size_text(info.n_bytes),
             info.tensors.size(), info.n_shards, info.n_shards == 1 ? "" : "s");
  for (const auto& [type, total] : count_types(info)) {
    fmt::print("type          {:<8} {:>5} tensors, {}\n", type, total.n_tensors,
               size_text(total.n_bytes));
  }
  fmt::print("runs here     {}\n",
             info.unsupported.empty() ? "yes" : "no: " + terminal_safe(info.unsupported));
  if (info.unsupported.empty()) {
    const bool drafts = !info.drafter.empty();
    fmt::print("MTP           {}\n",
               terminal_safe(drafts ? "on, drafts by " + info.drafter : "off: " + info.no_drafter));
  }
  if (arguments.metadata) {
    fmt::print("\n");
    for (const MetadataEntry& entry : info.metadata) {
      std::string value = terminal_safe(entry.value);
      std::replace(value.begin(), value.end(), '\n', ' ');
      fmt::print("{:<48} {:<16} {}\n", terminal_safe(entry.key), entry.type, value);
    }
  }
  if (arguments.tensors) {
    fmt::print("\n");
    for (const TensorSummary& tensor : info.tensors) {
      fmt::print("{:<40} {:<6} {:<20} {:>12}\n", terminal_safe(tensor.name), tensor.type,
                 shape_text(tensor.shape), tensor.n_bytes);
    }
  }
}

Json to_json(const VerifySummary& verified) {
  Json json = {{"tensors", verified.n_tensors},
               {"bytes", verified.n_bytes},
               {"bad_numbers", verified.n_bad},
               {"bad_tensors", Json::array()},
               {"unchecked", verified.unchecked}};
  for (const BadTensor& tensor : verified.bad) {
    Json first = Json::array();
    for (const BadNumber& number : tensor.first) {
      first.push_back(
          {{"what", number.what}, {"element", number.element}, {"offset", number.offset}});
    }
    json["bad_tensors"].push_back({{"name", tensor.name},
                                   {"type", tensor.type},
                                   {"shard", tensor.shard},
                                   {"bad_numbers", tensor.n_bad},
                                   {"first", first}});
  }
  return json;
}

void print_text(const VerifySummary& verified) {
  if (verified.n_bad == 0)
    fmt::print("weights       finite, {} read\n", size_text(verified.n_bytes));
  for (const std::string& name : verified.unchecked) {
    fmt::print("not checked   {}: unknown blocks\n", terminal_safe(name));
  }
  for (const BadTensor& tensor : verified.bad) {
    const std::string shard =
        tensor.shard == 0 ? "" : fmt::format(" of shard {}", tensor.shard + 1);
    fmt::print("damaged       {} ({}{}): {} bad\n", terminal_safe(tensor.name), tensor.type, shard,
               tensor.n_bad);
    for (const BadNumber& number : tensor.first) {
      fmt::print("              byte {}, element {}: {}\n", number.offset, number.element,
                 number.what);
    }
  }
}

Result<VerifySummary> verify_weights(const std::string& model) {
  return run_long_work(VerifyFileOptions(), [&](const VerifyFileOptions& options) {
    return verify_file(model, options);
  });
}

int show(ShowArguments arguments) {
  auto path = model_or_pebble(arguments.model);
  if (!path.ok()) return fail(path.error());
  arguments.model = std::move(path).value();
  const auto info = inspect_file(arguments.model);
  if (!info.ok()) return fail(info.error());
  std::optional<VerifySummary> verified;
  if (arguments.verify) {
    auto result = verify_weights(arguments.model);
    if (!result.ok()) return fail(result.error());
    verified = std::move(result).value();
  }
  if (arguments.json) {
    Json json = to_json(*info, arguments);
    if (verified) json["verify"] = to_json(*verified);
    print_json(json);
  } else {
    print_text(*info, arguments);
    if (verified) print_text(*verified);
  }
  if (!verified || verified->n_bad == 0) return kExitOk;
  return fail({ErrorCode::bad_file, fmt::format("{}: {} bad numbers in {} tensors", arguments.model,
                                                verified->n_bad, verified->bad.size())});
}

struct TokenizeArguments {
  std::string model;
  std::optional<std::string> text;
  bool ids = false;
  bool special = false;
  bool no_bos = false;
  bool json = false;
};

int tokenize(const TokenizeArguments& arguments) {
  if (!arguments.text && console().input_is_terminal) {
    return fail_usage("no text: give TEXT, or pipe it in");
  }
  const auto text = arguments.text ? Result<std::string>(*arguments.text) : read_text("-");
  if (!text.ok()) return fail(text.error());
  const auto vocabulary = Vocabulary::open(arguments.model);
  if (!vocabulary.ok()) return fail(vocabulary.error());
  const auto ids = (*vocabulary)->encode(*text, !arguments.no_bos, arguments.special);
  if (!ids.ok()) return fail(ids.error());
  if (arguments.json) {
    Json json = {{"tokens", Json::array()}};
    for (const int32_t id : *ids) {
      json["tokens"].push_back({{"id", id}, {"piece", (*vocabulary)->piece(id)}});
    }
    print_json(json);
  } else if (arguments.ids) {
    fmt::print("[{}]\n", fmt::join(*ids, ", "));
  } else {
    for (const int32_t id : *ids) {
      std::string piece = terminal_safe((*vocabulary)->piece(id));
      if (const size_t n_newlines =
              static_cast<size_t>(std::count(piece.begin(), piece.end(), '\n'));
          n_newlines == piece.size()) {
        piece = fmt::format("\\n x {}", n_newlines);
      }
      fmt::print("{:>7}  {}\n", id, piece);
    }
  }
  return kExitOk;
}

struct DevicesArguments {
  std::string device;
  bool json = false;
  bool snapshot = false;
};

void print_devices(const std::vector<DeviceInfo>& devices) {
  for (const DeviceInfo& device : devices) {
    fmt::print("{} {}: {}\n", device.chosen ? '*' : ' ', device.index, terminal_safe(device.name));
    fmt::print("     {}, {}, {}\n", device.type, terminal_safe(device.driver),
               size_text(device.memory_bytes));
    fmt::print("     uuid {}\n", device.uuid);
    if (!device.usable) fmt::print("     not usable: {}\n", terminal_safe(device.reason));
  }
}

int list(const DevicesArguments& arguments) {
  if (arguments.snapshot) {
    const auto json = device_snapshots_json();
    if (!json.ok()) return fail(json.error());
    fmt::print("{}\n", *json);
    return kExitOk;
  }
  const auto devices = list_devices(arguments.device);
  if (!devices.ok()) return fail(devices.error());
  if (!arguments.json) {
    print_devices(*devices);
    return kExitOk;
  }
  Json json = Json::array();
  for (const DeviceInfo& device : *devices) json.push_back(device_json(device));
  print_json(json);
  return kExitOk;
}

}  // namespace

void add_show(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("show", "what a GGUF file holds");
  auto arguments = std::make_shared<ShowArguments>();
  command.add_option("MODEL,-m,--model", arguments->model, "a GGUF file [Pebble]")
      ->option_text("FILE");
  command.add_flag("--metadata", arguments->metadata, "every key, long values cut");
  command.add_flag("--tensors", arguments->tensors, "every tensor: type, shape, bytes");
  command.add_flag("--verify", arguments->verify, "read all weights, look for NaN and infinity");
  command.add_flag("--json", arguments->json, "one object");
  command.callback([arguments, &result] { result = show(*arguments); });
}

void add_tokenize(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("tokenize", "text to token ids; needs no device");
  auto arguments = std::make_shared<TokenizeArguments>();
  command.add_option("MODEL,-m,--model", arguments->model, "a GGUF file")
      ->required()
      ->option_text("FILE");
  command.add_option("TEXT,-p,--prompt", arguments->text, "the text; without it stdin")
      ->option_text(" ");
  command.add_flag("--ids", arguments->ids, "a list of ids, without the pieces");
  command.add_flag("--special", arguments->special, "names of control tokens are those tokens");
  command.add_flag("--no-bos", arguments->no_bos, "no <bos> in front");
  command.add_flag("--json", arguments->json, "one object");
  command.callback([arguments, &result] { result = tokenize(*arguments); });
}

void add_devices(CLI::App& app, int& result) {
  CLI::App& command = *app.add_subcommand("devices", "the Vulkan devices; * is the one taken");
  auto arguments = std::make_shared<DevicesArguments>();
  command.add_option("--device", arguments->device, "-dev: which one this would take")
      ->option_text("NAME");
  command.add_flag("--json", arguments->json, "an array");
  command.add_flag("--snapshot", arguments->snapshot, "everything the drivers report, as JSON");
  command.callback([arguments, &result] { result = list(*arguments); });
}

}  // namespace kimberlite::cli
