// Which way of computing something is taken never changes a token, and is found out once.
#include "runtime/tuning.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "model_fixture.hpp"
#include "runtime/session.hpp"

namespace kimberlite::testing {
namespace {

using formats::GgmlType;
using nlohmann::json;
using runtime::DisabledVariants;
using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;
using runtime::Tuning;

constexpr uint32_t kPrompt = 150;  // passes of every size that is timed, and a larger one

/// A small model of Q4_0 with a drafter, and a cache folder of its own.
class TuningTest : public ::testing::Test {
 protected:
  TuningTest() {
    std::filesystem::create_directory(folder_);
    options_.cache_dir = folder_.string();
    options_.autotune = true;
    options_.probe = false;
    options_.media = false;
    options_.draft_model = drafter_;
  }
  ~TuningTest() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::remove(model_);
    std::filesystem::remove(drafter_);
  }

  std::unique_ptr<Engine> open() { return require_value(Engine::open(model_, options_)); }

  /// Also counts how often the session said that it times kernels.
  std::vector<int32_t> tokens(Engine& engine) {
    n_timings_ = 0;
    const auto session =
        require_value(Session::make(engine, 512, std::nullopt, [&](std::string_view what, double) {
          n_timings_ += what == "timing kernels" ? 1 : 0;
        }));
    std::vector<int32_t> prompt(kPrompt);
    for (uint32_t i = 0; i < kPrompt; ++i) prompt[i] = static_cast<int32_t>(7 * i % 250);
    require_value(session->sync(prompt, {}));
    auto request = greedy(24);
    request.sampling.temperature = 1;
    request.sampling.seed = 5;
    request.n_drafts = 3;
    return require_value(session->generate(request, {})).tokens;
  }

  std::filesystem::path file() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().filename().string().starts_with("tuning-")) return entry.path();
    }
    return {};
  }
  json report() const {
    std::ifstream in(file());
    return json::parse(in);
  }
  void replace(const std::string& text) const { std::ofstream(file()) << text; }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() /
                                  ("kimberlite-tuning-" + std::to_string(std::random_device{}()));
  std::string model_ = write_tiny("tiny12", 3, GgmlType::q4_0);
  std::string drafter_ = write_tiny("tiny12-drafter", 7, GgmlType::q4_0);
  EngineOptions options_;
  int n_timings_ = 0;
};

TEST_F(TuningTest, ChangesNoTokenAndIsDoneOnce) {
  options_.autotune = false;
  const auto plain = open();
  const std::vector<int32_t> expected = tokens(*plain);
  EXPECT_EQ(n_timings_, 0);
  EXPECT_TRUE(file().empty());

  options_.autotune = true;
  const auto timed = open();
  EXPECT_EQ(timed->tuning().size(), 0u);
  EXPECT_EQ(tokens(*timed), expected);
  EXPECT_GT(n_timings_, 0);
  EXPECT_TRUE(timed->tuning().is_complete());
  // Passes over 3 to 8 columns and prompts of 16, 32 and 64, of several products each.
  const size_t n_known = timed->tuning().size();
  EXPECT_GT(n_known, 9u * 3);
  EXPECT_EQ(tokens(*timed), expected);  // another session has nothing to time
  EXPECT_EQ(n_timings_, 0);

  const auto again = open();
  EXPECT_EQ(again->tuning().size(), n_known);
  EXPECT_EQ(tokens(*again), expected);
  EXPECT_EQ(n_timings_, 0);

  // Whatever was measured: the narrowest tiles that there are, everywhere.
  json changed = report();
  for (auto& [work, way] : changed["fastest"].items()) {
    const auto name = way.get<std::string>();
    way = name.substr(0, name.find('/')) + "/2";
  }
  replace(changed.dump());
  const auto narrow = open();
  EXPECT_EQ(narrow->tuning().size(), n_known);
  const auto session = require_value(Session::make(*narrow, 512, std::nullopt));
  const auto graph = session->passes().build({runtime::PassEnd::cache, 16}, narrow->policy());
  size_t n_chosen = 0;
  for (const graph::Node& node : graph.nodes()) {
    if (node.work.empty()) continue;
    ++n_chosen;
    EXPECT_EQ(node.constants[2], 2u) << node.work;  // panel.glsl: COLUMNS
  }
  EXPECT_GT(n_chosen, 0u);
  EXPECT_EQ(tokens(*narrow), expected);
  EXPECT_EQ(n_timings_, 0);
}

TEST_F(TuningTest, AFileOfAnotherDriverOrADamagedOneIsMadeAnew) {
  const std::vector<int32_t> expected = tokens(*open());
  const json good = report();
  json other = good;
  other["key"] = "another driver";
  json strange = good;
  for (auto& [work, way] : strange["fastest"].items()) way = "no such way/3";
  for (const std::string& text : {std::string("{\"key\""), std::string(), other.dump()}) {
    replace(text);
    const auto engine = open();
    EXPECT_EQ(engine->tuning().size(), 0u);
    EXPECT_EQ(tokens(*engine), expected);
    EXPECT_GT(n_timings_, 0);
    EXPECT_EQ(report()["key"], good["key"]);
  }
  replace(strange.dump());  // ways that are gone: the default's
  EXPECT_EQ(tokens(*open()), expected);
}

TEST(Tuning, ChoosesWhatIsKnownAndThere) {
  const DisabledVariants none;
  Tuning tuning(none);
  const std::vector<std::string> ways{"a/8", "a/4", "b/8"};
  EXPECT_EQ(tuning.choose("work", ways), 0u);
  tuning.set("work", "b/8");
  EXPECT_EQ(tuning.choose("work", ways), 2u);
  EXPECT_EQ(tuning.choose("work", std::span(ways).first(2)), 0u);
  EXPECT_EQ(tuning.choose("other", ways), 0u);
  DisabledVariants some;
  some.add("matmul", "b");
  EXPECT_FALSE(Tuning(some).allows("matmul", "b"));
  EXPECT_TRUE(Tuning(some).allows("matmul", "a"));
}

}  // namespace
}  // namespace kimberlite::testing
