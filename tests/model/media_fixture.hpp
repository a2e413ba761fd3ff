// A tiny model with a projector of hash weights, and the prompts of the golden of pictures and
// sounds.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model_fixture.hpp"
#include "runtime/prompt.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {

/// Writes a projector to a file that no other test has; returns its path.
std::string write_tiny_projector(uint64_t seed, formats::GgmlType type,
                                 std::string_view shape = "tiny12-projector");

/// Options of an engine with that projector.
runtime::EngineOptions with_projector(runtime::EngineOptions options, const std::string& path);

/// One of the prompts of "tiny12-media".
struct MediaPrompt {
  std::string name;
  std::vector<int32_t> tokens;
  std::vector<int32_t> greedy;  // what follows
  std::vector<uint32_t>
      positions;  // of the golden's logits: text behind the first picture or sound
  nlohmann::json runs;
};
std::vector<MediaPrompt> media_prompts(const Golden& golden);

/// Embeddings of a run of the golden, by the engine's projector.
std::shared_ptr<const runtime::SoftTokens> embed_run(runtime::Engine& engine, const Golden& golden,
                                                     const nlohmann::json& run);

/// The largest difference in units of the golden's root mean square.
double relative_difference(const std::vector<float>& actual, const GoldenArray& golden);

/// The first `n` tokens of a prompt with what stands in their places.
runtime::Prompt make_prompt(runtime::Engine& engine, const Golden& golden,
                            const MediaPrompt& prompt, size_t n = SIZE_MAX);

}  // namespace kimberlite::testing
