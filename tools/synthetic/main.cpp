// kimberlite-make-model: writes a synthetic GGUF model, tiny or of real size.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/os.hpp"
#include "base/size_text.hpp"
#include "formats/quant.hpp"
#include "synthetic/model_file.hpp"
#include "synthetic/projector_file.hpp"

namespace {

using kimberlite::size_text;
using kimberlite::formats::GgmlType;
using kimberlite::synthetic::ModelShape;

struct Options {
  std::string shape = "tiny12";
  std::string type = "q4_0";
  std::string embedding_type;
  std::string output;
  uint32_t n_layers = 0;
  uint32_t vocab = 0;
  uint64_t seed = 1;
  bool split_experts = false;
  bool hollow = false;
};

/// What a projector does not have.
constexpr const char* kOfModels[] = {"--layers", "--vocab", "--embedding-type", "--split-experts",
                                     "--hollow"};

std::string list_shapes() {
  std::string text = "Shapes:\n";
  for (const ModelShape& shape : kimberlite::synthetic::named_shapes()) {
    text += fmt::format(
        "  {:<16} {:2} layers, hidden {}, ffn {}, {} heads, window {}, vocabulary {}", shape.name,
        shape.n_layers, shape.hidden, shape.ffn, shape.n_heads, shape.window, shape.vocab);
    if (shape.per_layer != 0) text += fmt::format(", per layer {}", shape.per_layer);
    if (shape.n_experts != 0) text += fmt::format(", {} experts", shape.n_experts);
    text += "\n";
  }
  return text +
         "  tiny12-projector, 12b-projector: pictures and sounds for these models\n"
         "  tiny-e2b-, tiny26-, e2b-, e4b-, 26b-, 31b-projector: with encoders; sounds for e2b, "
         "e4b\n"
         "\nExamples:\n"
         "  kimberlite-make-model --shape tiny12 --type f32 --seed 13 tiny12.gguf\n"
         "  kimberlite-make-model --shape 12b --type q4_0 12b.gguf           6.7 GB\n"
         "  kimberlite-make-model --shape 12b --layers 6 --vocab 8192 six.gguf\n";
}

void add_options(CLI::App& app, Options& options) {
  std::vector<std::string> names;
  for (const kimberlite::formats::GgmlTraits& type : kimberlite::formats::ggml_types()) {
    if (kimberlite::formats::can_quantize(type.type)) names.emplace_back(type.name);
  }
  const CLI::Validator types = CLI::IsMember(names);
  app.add_option("--shape", options.shape, "one of the shapes below")->capture_default_str();
  app.add_option("--layers", options.n_layers, "another number of layers (the last is full)");
  app.add_option("--vocab", options.vocab, "another vocabulary size, from 512");
  app.add_option("--type", options.type, "how matrices are stored")
      ->check(types)
      ->capture_default_str();
  app.add_option("--embedding-type", options.embedding_type,
                 "how the embedding is stored (default: as the matrices)")
      ->check(types);
  app.add_flag("--split-experts", options.split_experts,
               "gate and up of the experts as two tensors");
  app.add_flag("--hollow", options.hollow,
               "zeros that take no room on disk, for runs whose results do not matter");
  app.add_option("--seed", options.seed, "of the hash that the weights are")->capture_default_str();
  app.add_option("OUT.gguf", options.output, "the file to write")->required();
  app.footer(list_shapes());
}

/// A line on stderr at most ten times a second; on a terminal it overwrites itself.
class ProgressLine {
 public:
  bool operator()(uint64_t done, uint64_t all) {
    const auto now = std::chrono::steady_clock::now();
    if (done < all && now - last_ < interval_) return true;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = static_cast<double>(done) / std::max(seconds, 1e-3);
    fmt::print(stderr, "{}{} of {}, {}/s{}", is_terminal_ ? "\r" : "", size_text(done),
               size_text(all), size_text(static_cast<uint64_t>(rate)),
               is_terminal_ && done < all ? "" : "\n");
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool is_terminal_ = kimberlite::os::stderr_is_terminal();
  Clock::duration interval_ = std::chrono::milliseconds(is_terminal_ ? 100 : 5000);
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

int fail(const std::string& message) {
  fmt::print(stderr, "kimberlite-make-model: {}\n", message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Writes a GGUF model with hash weights: the structure of Gemma 4, no knowledge.");
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);

  if (const auto projector = kimberlite::synthetic::find_projector_shape(options.shape)) {
    for (const char* option : kOfModels) {
      if (app.count(option) > 0) return fail(fmt::format("{}: not for projectors", option));
    }
    const auto type = kimberlite::formats::find_ggml_type(options.type);
    if (!type) return fail("a type that this build does not know");
    const auto status =
        kimberlite::synthetic::write_projector(*projector, options.seed, *type, options.output);
    return status.ok() ? 0 : fail(status.error().message);
  }
  auto shape = kimberlite::synthetic::find_shape(options.shape);
  if (!shape) return fail(fmt::format("no shape is called {}; see --help", options.shape));
  if (options.n_layers != 0) *shape = shape->with_layers(options.n_layers);
  shape->split_experts = options.split_experts;
  if (options.vocab != 0) shape->vocab = options.vocab;
  if (options.embedding_type.empty()) options.embedding_type = options.type;
  const auto matrices = kimberlite::formats::find_ggml_type(options.type);
  const auto embedding = kimberlite::formats::find_ggml_type(options.embedding_type);
  if (!matrices || !embedding) return fail("a type that this build does not know");

  kimberlite::synthetic::ModelTypes types(*matrices, *embedding);
  types.hollow = options.hollow;
  ProgressLine line;
  const auto status = kimberlite::synthetic::write_model(
      *shape, options.seed, types, options.output,
      [&line](uint64_t done, uint64_t all) { return line(done, all); });
  return status.ok() ? 0 : fail(status.error().message);
}
