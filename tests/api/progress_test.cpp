// What a caller hears of long work: every step by its name, forwards, to its end, on its own
// thread.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "kimberlite/kimberlite.hpp"
#include "synthetic/model_file.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite {
namespace {

using testing::ElementsAre;

/// A Progress that takes notes.
class Heard {
 public:
  Progress callback() {
    return [this](std::string_view what, double fraction) {
      EXPECT_EQ(std::this_thread::get_id(), thread_);
      if (steps_.empty() || steps_.back().what != what) steps_.push_back({std::string(what), {}});
      steps_.back().fractions.push_back(fraction);
    };
  }
  /// The names of the steps in order; each of them began within 0 to 1, never fell, ended with 1.
  [[nodiscard]] std::vector<std::string> whole_steps() const {
    std::vector<std::string> names;
    for (const Step& step : steps_) {
      EXPECT_TRUE(std::ranges::is_sorted(step.fractions)) << step.what;
      EXPECT_GE(step.fractions.front(), 0) << step.what;
      EXPECT_EQ(step.fractions.back(), 1) << step.what;
      EXPECT_GE(step.fractions.size(), 2u) << step.what << " is shown at its end alone";
      names.push_back(step.what);
    }
    return names;
  }

 private:
  struct Step {
    std::string what;
    std::vector<double> fractions;
  };
  std::vector<Step> steps_;
  std::thread::id thread_ = std::this_thread::get_id();
};

/// The path of a tiny model in `folder`.
std::string write_model(const TempFolder& folder) {
  const auto shape = synthetic::find_shape("tiny12");
  std::string path = folder.file("m.gguf");
  EXPECT_TRUE(synthetic::write_model(*shape, 1, formats::GgmlType::q4_0, path).ok());
  return path;
}

TEST(ProgressTest, EveryStepIsHeardToItsEnd) {
  const TempFolder folder;
  const std::string path = write_model(folder);
  Heard opening;
  ModelOptions options;
  options.cache_dir = folder.path();
  options.progress = opening.callback();
  const auto model = Model::open(path, options);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_THAT(opening.whole_steps(), ElementsAre("checking the driver", "loading weights"));

  Heard first;
  SessionOptions session_options;
  session_options.context = 512;
  session_options.progress = first.callback();
  const auto session = (*model)->new_session(session_options);
  ASSERT_TRUE(session.ok()) << session.error().message;
  EXPECT_THAT(first.whole_steps(), ElementsAre("preparing kernels"));
  // Nothing of the model's own callback is kept.
  EXPECT_THAT(opening.whole_steps(), ElementsAre("checking the driver", "loading weights"));

  Heard prompt;
  const std::vector<int32_t> tokens(40, 300);
  ASSERT_TRUE((*session)->sync(tokens, prompt.callback()).ok());
  EXPECT_THAT(prompt.whole_steps(), ElementsAre("reading the prompt"));

  Heard again;
  options.progress = again.callback();
  ASSERT_TRUE(Model::open(path, options).ok());
  EXPECT_THAT(again.whole_steps(), ElementsAre("loading weights"));
}

/// Another kind of cache has kernels of its own, which are checked before they are used.
TEST(ProgressTest, ASessionMayCheckTheDriver) {
  const TempFolder folder;
  ModelOptions options;
  options.cache_dir = folder.path();
  const auto model = Model::open(write_model(folder), options);
  ASSERT_TRUE(model.ok()) << model.error().message;
  Heard heard;
  SessionOptions session_options;
  session_options.context = 512;
  session_options.kv_type = KvCacheType::q8_0;
  session_options.progress = heard.callback();
  const auto session = (*model)->new_session(session_options);
  ASSERT_TRUE(session.ok()) << session.error().message;
  EXPECT_THAT(heard.whole_steps(), ElementsAre("checking the driver", "preparing kernels"));
}

}  // namespace
}  // namespace kimberlite
