#include "media_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "media/mel.hpp"
#include "synthetic/projector_file.hpp"

namespace kimberlite::testing {

std::string write_tiny_projector(uint64_t seed, formats::GgmlType type, std::string_view name) {
  const auto folder = std::filesystem::temp_directory_path();
  const std::string path =
      (folder / ("kimberlite-projector-" + std::to_string(std::random_device{}()) + ".gguf"))
          .string();
  const auto shape = synthetic::find_projector_shape(name);
  require_ok(synthetic::write_projector(*shape, seed, type, path));
  return path;
}

runtime::EngineOptions with_projector(runtime::EngineOptions options, const std::string& path) {
  options.projector = path;
  return options;
}

std::vector<MediaPrompt> media_prompts(const Golden& golden) {
  std::vector<MediaPrompt> prompts;
  for (const auto& [name, value] : golden.header.at("prompts").items()) {
    prompts.push_back(
        {name, value.at("tokens"), value.at("greedy"), value.at("positions"), value.at("runs")});
  }
  return prompts;
}

std::shared_ptr<const runtime::SoftTokens> embed_run(runtime::Engine& engine, const Golden& golden,
                                                     const nlohmann::json& run) {
  const uint64_t seed = golden.header.at("projector_seed");
  const std::string name = run.at("name");
  using Shape = synthetic::ProjectorShape;
  if (run.contains("samples")) {
    std::vector<float> samples =
        synthetic::make_media(seed, name, run.at("samples").get<uint64_t>(), /*sound=*/true);
    for (float& sample : samples) sample *= 0.25f;
    return require_value(engine.media().embed_sound(media::make_mel(samples).values));
  }
  if (run.contains("frames")) {
    const uint64_t n = run.at("frames").get<uint64_t>() * Shape::kFrameSamples;
    return require_value(
        engine.media().embed_sound(synthetic::make_media(seed, name, n, /*sound=*/true)));
  }
  const uint32_t columns = run.at("columns");
  const uint32_t rows = run.at("rows");
  const std::vector<float> patches = synthetic::make_media(
      seed, name, uint64_t{columns} * rows * Shape::kPatchValues, /*sound=*/false);
  return require_value(engine.media().embed_picture(columns, rows, patches));
}

double relative_difference(const std::vector<float>& actual, const GoldenArray& golden) {
  if (actual.size() != golden.values.size()) return INFINITY;
  double squares = 0, worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    squares += golden.values[i] * golden.values[i];
    const double difference = std::abs(double{actual[i]} - golden.values[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst / std::sqrt(squares / static_cast<double>(actual.size()));
}

runtime::Prompt make_prompt(runtime::Engine& engine, const Golden& golden,
                            const MediaPrompt& prompt, size_t n) {
  runtime::Prompt result;
  result.tokens = prompt.tokens;
  result.tokens.resize(std::min(n, prompt.tokens.size()));
  for (const nlohmann::json& run : prompt.runs) {
    const uint32_t first = run.at("first");
    if (first < result.tokens.size()) {
      result.runs.push_back({first, embed_run(engine, golden, run)});
    }
  }
  return result;
}

}  // namespace kimberlite::testing
