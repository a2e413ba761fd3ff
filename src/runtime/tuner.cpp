#include "runtime/tuner.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "runtime/draft_policy.hpp"
#include "runtime/prefill_plan.hpp"

namespace kimberlite::runtime {
namespace {

constexpr uint32_t kRuns = 3;           // of which the fastest counts, after one more
constexpr uint32_t kMostRows = 64;      // of a prompt: with more of them the ways stay the same
constexpr double kCompiling = 0.5;      // the pipelines' share of the time, more or less
constexpr double kWorthwhile = 0.97;    // of the default's time: less is noise
constexpr double kMostSubmissions = 4;  // bounds of one submission that a pass may take

/// The way of this index, or the last one where there are fewer; remembers all.
class Trial final : public graph::VariantPolicy {
 public:
  Trial(const graph::VariantPolicy& variants, size_t index) : variants_(&variants), index_(index) {}

  [[nodiscard]] bool allows(std::string_view kernel, std::string_view variant) const override {
    return variants_->allows(kernel, variant);
  }
  [[nodiscard]] size_t choose(std::string_view work,
                              std::span<const std::string> ways) const override {
    ways_[std::string(work)].assign(ways.begin(), ways.end());
    return std::min(index_, ways.size() - 1);
  }
  /// Of the graphs that were built, by work.
  [[nodiscard]] const std::map<std::string, std::vector<std::string>>& ways() const {
    return ways_;
  }

 private:
  const graph::VariantPolicy* variants_;  // Borrowed from the engine.
  size_t index_;
  mutable std::map<std::string, std::vector<std::string>> ways_;
};

/// A pass and what is to be found out about it.
struct Subject {
  PassKey key;
  std::map<std::string, std::vector<std::string>> ways;  // by work, the default first
  size_t n_ways = 0;                                     // the most that one work has
};

/// What sessions repeat: verifying drafts, and prompts of more and more rows.
std::vector<PassKey> repeated_passes(const Engine& engine) {
  std::vector<PassKey> keys;
  if (engine.drafter() != nullptr) {
    for (uint32_t n = 2; n <= kMaxDrafts + 1; ++n) keys.push_back({PassEnd::logits, n});
  }
  for (uint32_t rows = kMinPrefillRows; rows <= kMostRows; rows *= 2) {
    keys.push_back({PassEnd::cache, rows});
  }
  return keys;
}

class Tuner {
 public:
  Tuner(Engine& engine, Passes& passes, Sequence& sequence, uint32_t n_positions)
      : engine_(engine), passes_(passes), sequence_(sequence), n_positions_(n_positions) {}

  [[nodiscard]] std::vector<Subject> find_subjects() const {
    std::vector<Subject> subjects;
    for (const PassKey& key : repeated_passes(engine_)) {
      const Trial trial(engine_.policy(), 0);
      static_cast<void>(passes_.build(key, trial));
      Subject subject{key, {}, 0};
      for (const auto& [work, ways] : trial.ways()) {
        if (engine_.tuning().knows(work)) continue;
        subject.ways.emplace(work, ways);
        subject.n_ways = std::max(subject.n_ways, ways.size());
      }
      if (!subject.ways.empty()) subjects.push_back(std::move(subject));
    }
    return subjects;
  }

  Status make_pipelines(const std::vector<Subject>& subjects,
                        const std::function<void(size_t, size_t)>& progress) {
    std::vector<vk::PipelineSpec> specs;
    for (const Subject& subject : subjects) {
      for (size_t way = 0; way < subject.n_ways; ++way) {
        const Trial trial(engine_.policy(), way);
        for (vk::PipelineSpec& spec : graph::pipeline_specs(passes_.build(subject.key, trial))) {
          specs.push_back(std::move(spec));
        }
      }
    }
    return engine_.pipelines().prepare(specs, progress);
  }

  /// Returns the seconds of the pass in the default way.
  Result<double> tune(const Subject& subject) {
    std::map<std::string, std::vector<double>> times;  // microseconds, by work and way
    double pass_seconds = 0;
    for (size_t way = 0; way < subject.n_ways; ++way) {
      const Trial trial(engine_.policy(), way);
      const uint32_t n = subject.key.n_columns;
      // Where a context is shorter than the pass, what is left over is of no column.
      sequence_.write_columns(std::vector<int32_t>(std::min(n, n_positions_)), 0, n);
      KL_ASSIGN(const std::vector<graph::NodeTime> nodes,
                passes_.time_nodes(subject.key, trial, kRuns));
      std::map<std::string, double> sums;
      for (const graph::NodeTime& node : nodes) {
        sums[node.work] += node.microseconds;
        if (way == 0) pass_seconds += node.microseconds * 1e-6;
      }
      for (const auto& [work, ways] : subject.ways) {
        if (way < ways.size()) times[work].push_back(sums[work]);
      }
    }
    for (const auto& [work, of_ways] : times) {
      const auto best = std::ranges::min_element(of_ways);
      const bool pays = *best < kWorthwhile * of_ways.front();
      const auto index = pays ? static_cast<size_t>(best - of_ways.begin()) : 0;
      engine_.tuning().set(work, subject.ways.at(work)[index]);
    }
    return pass_seconds;
  }

  /// Too slow for a submission that is not cut: the default it is.
  void give_up(const Subject& subject) {
    for (const auto& [work, ways] : subject.ways) engine_.tuning().set(work, ways.front());
  }

 private:
  Engine& engine_;
  Passes& passes_;
  Sequence& sequence_;
  uint32_t n_positions_;  // that the cache has room for
};

/// Of every subject. Errors: those of Tuner.
Status tune_all(Engine& engine, Tuner& tuner, const std::vector<Subject>& subjects,
                const std::function<void(double)>& progress) {
  const auto show = [&](double fraction) {
    if (progress) progress(fraction);
  };
  KL_TRY(tuner.make_pipelines(subjects, [&](size_t done, size_t total) {
    show(kCompiling * static_cast<double>(done) / static_cast<double>(total));
  }));
  const double bound = kMostSubmissions * submission_bound_seconds(engine.device().caps());
  double rows_seconds = 0;  // of the last prompt: one of twice the rows takes at most twice as long
  for (size_t i = 0; i < subjects.size(); ++i) {
    const bool is_prompt = subjects[i].key.end == PassEnd::cache;
    if (is_prompt && 2 * rows_seconds > bound) {
      tuner.give_up(subjects[i]);
    } else {
      KL_ASSIGN(const double seconds, tuner.tune(subjects[i]));
      if (is_prompt) rows_seconds = seconds;
    }
    const double done = static_cast<double>(i + 1) / static_cast<double>(subjects.size());
    show(kCompiling + (1 - kCompiling) * done);
  }
  return {};
}

}  // namespace

Status tune_passes(Engine& engine, Passes& passes, KvCache& cache, Sequence& sequence,
                   const std::function<void(double)>& progress) {
  if (engine.tuning().is_complete()) return {};
  const uint32_t n_positions = std::min(kMostRows, cache.context());
  Tuner tuner(engine, passes, sequence, n_positions);
  const std::vector<Subject> subjects = tuner.find_subjects();
  if (!subjects.empty()) {
    KL_TRY(cache.commit(n_positions));
    KL_TRY(tune_all(engine, tuner, subjects, progress));
    engine.save_tuning();
  }
  engine.tuning().complete();
  return {};
}

}  // namespace kimberlite::runtime
