// Tiny drafters beside their targets, and rounds of drafts without a session.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/drafter.hpp"
#include "model_fixture.hpp"

namespace kimberlite::testing {

/// A drafter of hash weights on the device of its target.
class TinyDrafter {
 public:
  TinyDrafter(TinyModel& target, const std::string& shape, uint64_t seed,
              const synthetic::ModelTypes& types, bool precise);

  [[nodiscard]] runtime::Engine& target() const { return target_; }
  [[nodiscard]] const model::DrafterConfig& config() const { return config_; }
  [[nodiscard]] const model::DrafterWeights& weights() const { return *weights_; }
  [[nodiscard]] const model::DonorLayers& donors() const { return donors_; }

 private:
  runtime::Engine& target_;  // Borrowed from the TinyModel.
  model::DrafterConfig config_;
  std::unique_ptr<model::DrafterWeights> weights_;
  model::DonorLayers donors_;
};

/// What one draft of a round says.
struct Draft {
  int32_t token = 0;
  std::vector<float> logits;  // [n_vocab]
};

/// Rounds over the keys and values that `decoder` has made.
class DraftRun {
 public:
  DraftRun(const TinyDrafter& drafter, const DecoderRun& decoder);

  /// Drafts one by one, each from the token before it. `hidden`: the target's of `position` - 1.
  std::vector<Draft> round(uint32_t position, int32_t token, const std::vector<float>& hidden,
                           size_t n_drafts);
  /// All in one graph; the token that draft i is made from is tokens[i].
  std::vector<Draft> chain(uint32_t position, const std::vector<int32_t>& tokens,
                           const std::vector<float>& hidden);
  /// Of a graph of so many drafts.
  uint32_t n_dispatches(uint32_t n_drafts) {
    return make_chain(n_drafts).executable->n_dispatches();
  }

 private:
  struct Chain {
    std::unique_ptr<vk::Buffer> columns;  // of position, then of each token, kStride apart
    std::unique_ptr<vk::Buffer> input;
    std::vector<std::unique_ptr<vk::Buffer>> logits;
    std::unique_ptr<graph::Executable> executable;
  };
  Chain make_chain(size_t n_drafts);
  std::vector<Draft> run(const Chain& chain, uint32_t position, const std::vector<int32_t>& tokens);
  void write_hidden(const Chain& chain, const std::vector<float>& hidden);

  const TinyDrafter& drafter_;  // Borrowed from the caller, like the next.
  const DecoderRun& decoder_;
  Chain one_;
};

}  // namespace kimberlite::testing
